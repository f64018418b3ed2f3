# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures: pixels while a job paints, and in the end the PNG itself, packed into the file."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array


def write_png(image: bpy.types.Image, png: bytes) -> None:
    """Pack the bytes of a PNG into an image, so that nothing is encoded again, and show it."""
    image.pack(data=png, data_len=len(png))
    image.source = "FILE"
    image.reload()


def duplicate(image: bpy.types.Image) -> bpy.types.Image:
    """Another image with the same pixels, packed; Blender's own copy has none that were not saved."""
    copy = bpy.data.images.new(image.name, *image.size)
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    copy.pixels.foreach_set(values)
    copy.pack()
    return copy


def write_pixels(image: bpy.types.Image, pixels: Array) -> None:
    """Show (H, W, 3) uint8 sRGB, row 0 at the top, which is at the end in Blender."""
    height, width, _ = pixels.shape
    if tuple(image.size) != (width, height):
        image.scale(width, height)
    image.pixels.foreach_set(_floats(pixels))
    image.update()


def _floats(pixels: Array) -> Array:
    """RGBA in [0, 1] from the last row to the first, float32 of one dimension; opaque.

    A pixel's three bytes are read as a word of four, whose last byte is made 255: thrice as fast as by channels.
    """
    height, width, _ = pixels.shape
    padded = np.empty(pixels.size + 1, np.uint8)
    padded[:-1] = pixels.ravel()
    words = np.ndarray((height, width), "<u4", padded, strides=(3 * width, 3))[::-1] | np.uint32(0xFF000000)
    return np.multiply(words.view(np.uint8).ravel(), np.float32(1 / 255))
