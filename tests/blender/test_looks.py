"""What an object looks like stays, until there is something new to see, and when its file is opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from refining import Refining, active, monkey, png, shown_image, textured

SIDE = 16


@pytest.fixture
def camera(blender: Any) -> None:
    """In front of what is at the origin, in the light of a sun."""
    bpy.ops.object.camera_add(location=(0, -2.5, 0), rotation=(np.pi / 2, 0, 0))
    bpy.context.scene.camera = bpy.context.object
    bpy.ops.object.light_add(type="SUN", rotation=(np.pi / 2, 0, 0))
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.view_settings.view_transform = "CYCLES", 8, "Standard"
    scene.render.resolution_x = scene.render.resolution_y = SIDE


def seen(tmp_path: Path) -> np.ndarray:
    """The middle of what the camera sees, (8, 8, 3)."""
    file = bpy.context.scene.render.filepath = str(tmp_path / "seen.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(file)
    pixels = np.array(image.pixels, np.float32).reshape(SIDE, SIDE, 4)
    bpy.data.images.remove(image)
    return pixels[4:12, 4:12, :3]


@pytest.fixture
def told(blender: Any) -> Iterator[Callable[[], tuple[bool, str]]]:
    """Whether viewports were told of what a job paints since this was asked last, and how alpha is to be read."""
    images = set[str]()

    def listen(_: Any, depsgraph: bpy.types.Depsgraph) -> None:
        images.update(change.id.name for change in depsgraph.updates if isinstance(change.id, bpy.types.Image))

    def ask() -> tuple[bool, str]:
        bpy.context.view_layer.update()
        picture = active().data["dreamcraft3d_picture"]
        heard = picture.name in images
        images.clear()
        return heard, picture.alpha_mode

    bpy.app.handlers.depsgraph_update_post.append(listen)
    yield ask
    bpy.app.handlers.depsgraph_update_post.remove(listen)


def alpha_when_reopened(made: Any, tmp_path: Path) -> np.ndarray:
    """Of the image that the object shows, once its file was saved and opened."""
    name = made.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    return np.array(shown_image(bpy.data.objects[name]).pixels, np.float32)[3::4]


def kept() -> Any:
    (copy,) = [one for one in bpy.data.objects if one.type == "MESH" and "dreamcraft3d_job" not in one]
    return copy


def half_clear(image: Any) -> None:
    """Nothing is on the lower half of an image."""
    values = np.array(image.pixels, np.float32).reshape(-1, 4)
    values[: len(values) // 2, 3] = 0
    image.pixels.foreach_set(values.ravel())
    image.pack()


def test_an_object_without_a_material_looks_as_before_until_it_is_painted(
    camera: None, refining: Refining, tmp_path: Path
) -> None:
    bpy.ops.mesh.primitive_monkey_add()
    bpy.ops.ed.undo_push(message="Monkey")
    before = seen(tmp_path)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a bear")
    assert np.abs(seen(tmp_path) - before).mean() < 0.03
    refining.paint(said.job, arrays, (255, 0, 0))
    assert np.abs(seen(tmp_path) - before).mean() > 0.1


@pytest.mark.parametrize("opaque", [True, False])
def test_viewports_are_told_of_every_picture_that_is_painted(
    refining: Refining, told: Callable[[], tuple[bool, str]], opaque: bool
) -> None:
    image = textured(monkey())
    if not opaque:
        half_clear(image)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a nose", part="GROUP", source="Ears")
    _, way = told()
    for colour in (255, 0, 0), (0, 255, 0):
        refining.paint(said.job, arrays, colour)
        before, (heard, way) = way, told()
        assert heard
        assert (way != before) == opaque, "Cycles takes an image anew that is to be read in another way"


def test_a_repainted_texture_is_as_transparent_when_the_file_is_opened_again(
    refining: Refining, tmp_path: Path
) -> None:
    half_clear(textured(monkey()))
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a nose", part="GROUP", source="Ears")
    refining.finish(said.job, arrays, png((1, 0, 0), 32))
    alpha = alpha_when_reopened(active(), tmp_path)
    assert (alpha == np.repeat([0, 1], 512)).all()


def test_what_was_kept_is_as_transparent_when_the_file_is_opened_again(refining: Refining, tmp_path: Path) -> None:
    half_clear(textured(monkey()))
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a nose", part="GROUP", source="Ears")
    refining.paint(said.job, arrays, (255, 0, 0))
    assert bpy.ops.dreamcraft3d.keep(job=said.job) == {"FINISHED"}
    alpha = alpha_when_reopened(kept(), tmp_path)
    assert (alpha == np.repeat([0, 1], 32 * 64)).all()


def test_a_texture_with_something_else_in_its_alpha_looks_as_before(
    camera: None, refining: Refining, tmp_path: Path
) -> None:
    image = textured(monkey())
    values = np.array(image.pixels, np.float32).reshape(-1, 4)
    values[:, 3] = 0
    image.alpha_mode = "CHANNEL_PACKED"
    image.pixels.foreach_set(values.ravel())
    image.pack()
    before = seen(tmp_path)
    said, _ = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a nose", part="GROUP", source="Ears")
    assert shown_image(active()) != image
    assert np.abs(seen(tmp_path) - before).mean() < 0.01
    assert bpy.ops.dreamcraft3d.keep(job=said.job) == {"FINISHED"}
    kept().location, active().hide_render = (0, 0, 0), True
    assert np.abs(seen(tmp_path) - before).mean() < 0.01
