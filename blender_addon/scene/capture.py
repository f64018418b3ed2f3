# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of the scene: what the viewport shows, and what the camera sees, with nothing behind the objects."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

SIDE = 768
"""The longer side of a captured picture, pixels."""
SAMPLES = 32
"""Of a camera's render, at most."""


class CaptureError(OSError):
    """There is nothing to capture; ``str()`` is a sentence that says what to do."""


def viewport(context: bpy.types.Context) -> Array:
    """The viewport that the button was pressed in, or else the first, without overlays.

    Returns:
        (H, W, 4) uint8 sRGB with straight alpha, row 0 at the top.

    Raises:
        CaptureError: Blender has no window, or nothing is in sight.
    """
    if bpy.app.background:
        raise CaptureError("Without a window there is no viewport to capture. Render the camera, or choose a file.")
    import gpu  # there is none without a window

    space, region = _viewport(context)
    view = space.region_3d
    scale = SIDE / max(region.width, region.height)
    width, height = max(round(region.width * scale), 1), max(round(region.height * scale), 1)
    screen = gpu.types.GPUOffScreen(width, height)
    try:
        with _settings(space.overlay, show_overlays=False), _settings(space, show_gizmo=False):
            screen.draw_view3d(
                context.scene, context.view_layer, space, region, view.view_matrix, view.window_matrix,
                do_color_management=True, draw_background=False,
            )  # fmt: skip
        with screen.bind():
            read = gpu.state.active_framebuffer_get().read_color(0, 0, width, height, 4, 0, "UBYTE")
    finally:
        screen.free()
    read.dimensions = width * height * 4
    pixels = np.array(read, np.uint8).reshape(height, width, 4)[::-1]
    if not pixels[..., 3].any():
        raise CaptureError("Nothing is in sight in this viewport. Turn it until it shows what you mean.")
    return _straight(pixels)


def camera(context: bpy.types.Context) -> bytes:
    """A small render of the scene's camera, on nothing; the bytes of a PNG.

    A copy of the scene is rendered, so its settings stay, and what was rendered last. Blender waits meanwhile.

    Raises:
        CaptureError: there is no camera, or Blender cannot render.
    """
    if context.scene.camera is None:
        raise CaptureError("The scene has no camera. Add one, or choose another picture.")
    with tempfile.TemporaryDirectory() as folder, _copy(context.scene) as scene, _png(scene):
        file, render = Path(folder) / "camera.png", scene.render
        smaller = SIDE / max(render.resolution_x, render.resolution_y)
        _set(
            render, filepath=str(file), film_transparent=True, resolution_percentage=100,
            resolution_x=max(round(render.resolution_x * smaller), 4), use_border=False, use_multiview=False,
            resolution_y=max(round(render.resolution_y * smaller), 4), use_compositing=False, use_sequencer=False,
            use_stamp=False, use_file_extension=False,
        )  # fmt: skip
        for engine, samples in (("cycles", "samples"), ("eevee", "taa_render_samples")):
            settings = getattr(scene, engine, None)
            if settings is not None:
                _set(settings, **{samples: min(getattr(settings, samples), SAMPLES)})
        try:
            bpy.ops.render.render(write_still=True, scene=scene.name)
        except RuntimeError as error:
            raise CaptureError(f"Blender could not render the camera. {error}") from None
        return file.read_bytes()


def rendered(image: bpy.types.Image, scene: bpy.types.Scene) -> bytes:
    """What was rendered last, of whose pixels Blender gives only a file; the bytes of a PNG.

    Raises:
        CaptureError: nothing was rendered yet.
    """
    with tempfile.TemporaryDirectory() as folder, _png(scene):
        file = Path(folder) / "rendered.png"
        try:
            image.save_render(str(file), scene=scene)
            return file.read_bytes()
        except (RuntimeError, OSError):
            raise CaptureError("Nothing was rendered yet. Render first, or choose another image.") from None


def _viewport(context: bpy.types.Context) -> tuple[bpy.types.SpaceView3D, bpy.types.Region]:
    areas = [context.area] if context.area is not None else []
    areas += [area for window in context.window_manager.windows for area in window.screen.areas]
    area = next((area for area in areas if area.type == "VIEW_3D"), None)
    if area is None:
        raise CaptureError("There is no 3D viewport to capture. Open one, or choose another picture.")
    return area.spaces.active, next(region for region in area.regions if region.type == "WINDOW")


@contextlib.contextmanager
def _copy(scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    """Of a scene, with all that is in it, for a while."""
    copy = scene.copy()
    try:
        yield copy
    finally:
        bpy.data.scenes.remove(copy)


def _png(scene: bpy.types.Scene) -> contextlib.AbstractContextManager[None]:
    """Files of a scene's renders are PNGs with alpha."""
    chosen = scene.render.image_settings
    media = {"media_type": "IMAGE"} if hasattr(chosen, "media_type") else {}
    return _settings(chosen, **media, file_format="PNG", color_mode="RGBA", color_depth="8")


@contextlib.contextmanager
def _settings(owner: Any, **values: Any) -> Iterator[None]:
    """These values for a while; set and put back in the order given, as which file formats there are hangs on the media."""
    before = {name: getattr(owner, name) for name in values}
    try:
        _set(owner, **values)
        yield
    finally:
        _set(owner, **before)


def _set(owner: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(owner, name, value)


def _straight(pixels: Array) -> Array:
    """Colors that were multiplied by alpha, without it."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    color = pixels[..., :3] / np.maximum(alpha, 1 / 255)
    return np.concatenate([color.clip(0, 255).round().astype(np.uint8), pixels[..., 3:]], axis=-1)
