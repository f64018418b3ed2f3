# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures: pixels while a job paints, and in the end the PNG itself, packed into the file."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.pixels import Pixels
from ..core.png import as_bytes, encode_png
from ..core.refinement import RefineError


def write_png(image: bpy.types.Image, png: bytes, alpha_of: bpy.types.Image | None = None) -> None:
    """Pack the bytes of a PNG into an image, so that nothing is encoded again, and show it.

    Args:
        alpha_of: another image that it shall be as transparent as; then it is encoded again.
    """
    _pack(image, png)
    if alpha_of is not None:
        width, height = image.size
        values = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(values)
        values[3::4] = _alpha(alpha_of, height, width).ravel()
        _pack(image, encode_png(as_bytes(values.reshape(height, width, 4)[::-1], linear=False)))
    _show_anew(image, opaque=alpha_of is None)


def duplicate(image: bpy.types.Image) -> bpy.types.Image:
    """Another image with the same pixels, packed; Blender's own copy has none that were not saved."""
    copy = bpy.data.images.new(image.name, *image.size, alpha=True)
    copy.alpha_mode = image.alpha_mode
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    copy.pixels.foreach_set(values)
    copy.pack()
    return copy


def write_pixels(image: bpy.types.Image, pixels: Pixels, alpha_of: bpy.types.Image | None = None) -> None:
    """Show a texture while it is painted.

    Args:
        alpha_of: another image that it is as transparent as; None for opaque.
    """
    if image.source != "GENERATED" or tuple(image.size) != (pixels.width, pixels.height):
        image.source = "GENERATED"  # a file's own pixels come back whenever they are to be read in another way
        image.generated_width, image.generated_height = pixels.width, pixels.height
    values = pixels.values()
    if alpha_of is not None:
        values[3::4] = _alpha(alpha_of, pixels.height, pixels.width).ravel()
    image.pixels.foreach_set(values)
    image.update()
    _show_anew(image, opaque=alpha_of is None)


def is_transparent(image: bpy.types.Image) -> bool:
    """Whether any pixel is."""
    width, height = image.size
    return image.channels == 4 and bool((_alpha(image, height, width) < 1).any())


def to_file(image: bpy.types.Image) -> bytes:
    """Its pixels as the bytes of a PNG, whatever it is kept as, in the sRGB that a screen shows.

    Raises:
        RefineError: it has no pixels, or several tiles.
    """
    width, height = image.size
    if image.source == "TILED":
        raise RefineError(f"The image {image.name} has several tiles (UDIM). Choose an object that has one image.")
    if width * height == 0 or image.channels == 0:
        raise RefineError(f"The image {image.name} has no pixels; perhaps its file is missing. Find it, or retexture.")
    values = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(values)
    return encode_png(as_bytes(values.reshape(height, width, image.channels)[::-1], image.is_float))


def _show_anew(image: bpy.types.Image, opaque: bool) -> None:
    """Let the viewports know that the pixels are others.

    Cycles, in a viewport, shows an image as it was when it came, until its alpha is to be read in another way: for an opaque
    one that is all the same.
    """
    if opaque:
        image.alpha_mode = "STRAIGHT" if image.alpha_mode == "CHANNEL_PACKED" else "CHANNEL_PACKED"
    image.update_tag()


def _pack(image: bpy.types.Image, png: bytes) -> None:
    """These bytes are the image."""
    image.pack(data=png, data_len=len(png))
    image.source = "FILE"
    image.reload()


def _alpha(image: bpy.types.Image, height: int, width: int) -> Array:
    """(height, width) the nearest alphas of an image of four channels, in Blender's order of rows."""
    columns, rows = image.size
    values = np.empty(columns * rows * 4, np.float32)
    image.pixels.foreach_get(values)
    alpha = values.reshape(rows, columns, 4)[..., 3]
    return alpha[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
