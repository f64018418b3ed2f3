# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that the form names, as the bytes of a file, wherever it comes from."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.png import as_bytes, encode_png
from . import capture

MAX_BYTES = 64 << 20
MAX_SIDE = 2048
"""Of pixels that are sent; nothing later looks at finer detail."""


def given(form: bpy.types.PropertyGroup) -> bool:
    """Whether the form names a picture."""
    chosen = {"NONE": False, "FILE": bool(form.picture.strip()), "IMAGE": form.image is not None}
    return chosen.get(form.source, True)


def origin(form: bpy.types.PropertyGroup) -> tuple[str, str]:
    """Where the picture comes from, to compare it with another."""
    named = {"FILE": form.picture.strip(), "IMAGE": form.image.name_full if form.image is not None else ""}
    return form.source, named.get(form.source, "")


def name(form: bpy.types.PropertyGroup) -> str:
    """What an object made from the picture alone is called."""
    names = {"FILE": Path(bpy.path.abspath(form.picture)).stem, "IMAGE": Path(origin(form)[1]).stem}
    return names.get(form.source, "")[:48] or "Object"


def read(context: bpy.types.Context, form: bpy.types.PropertyGroup) -> dict[str, Array]:
    """The picture as an order's arrays; nothing where the form names none.

    Raises:
        OSError: it cannot be had; ``str()`` is a sentence.
    """
    if not given(form):
        return {}
    if form.source == "FILE":
        content = _file(form.picture)
    elif form.source == "IMAGE":
        content = _image(form.image, context.scene)
    elif form.source == "VIEWPORT":
        content = encode_png(capture.viewport(context))
    else:
        content = capture.camera(context)
    return {"picture": np.frombuffer(content, np.uint8)}


def _file(path: str) -> bytes:
    file = Path(bpy.path.abspath(path))
    if not file.is_file():
        raise OSError(f"There is no picture at {file}. Choose another, or clear the field.")
    if file.stat().st_size > MAX_BYTES:
        raise OSError(f"{file.name} is larger than {MAX_BYTES >> 20} MB. Choose a smaller picture.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OSError(f"{file} cannot be read: {error.strerror}.") from None
    if not content:
        raise OSError(f"{file.name} is empty. Choose another picture.")
    return content


def _image(image: bpy.types.Image, scene: bpy.types.Scene) -> bytes:
    if image.type == "RENDER_RESULT":
        return capture.rendered(image, scene)
    width, height = image.size
    if width * height == 0 or image.channels == 0:
        raise OSError(f"The image {image.name} has no pixels; perhaps its file is missing. Choose another.")
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return encode_png(as_bytes(_reduced(values.reshape(height, width, -1)), image.is_float)[::-1])


def _reduced(values: Array) -> Array:
    """(H, W, C) averaged over squares until the longer side is at most ``MAX_SIDE``."""
    height, width, channels = values.shape
    square = -(-max(height, width) // MAX_SIDE)
    rows, columns = max(height // square, 1), max(width // square, 1)
    if square == 1:
        return values
    whole = values[: rows * square, : columns * square]
    return whole.reshape(rows, square, columns, square, channels).mean(axis=(1, 3))
