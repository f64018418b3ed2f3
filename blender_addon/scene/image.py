# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures: pixels while a job paints, and in the end the PNG itself, packed into the file."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array


def from_png(name: str, png: bytes) -> bpy.types.Image:
    """An image that has the bytes of a PNG packed in it, so that nothing is encoded again."""
    image = bpy.data.images.new(name, 1, 1)
    image.pack(data=png, data_len=len(png))
    image.source = "FILE"
    return image


def painted(name: str, mark: str, job: str) -> bpy.types.Image:
    """A new image that a job is going to paint, and says so."""
    image = bpy.data.images.new(name, 8, 8)
    image[mark] = job
    return image


def duplicate(image: bpy.types.Image) -> bpy.types.Image:
    """Another image with the same pixels, and no mark; Blender's own copy has none that were not saved."""
    copy = bpy.data.images.new(image.name, *image.size)
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    copy.pixels.foreach_set(values)
    copy.update()
    return copy


def write_pixels(image: bpy.types.Image, pixels: Array) -> None:
    """Show (H, W, 3) uint8 sRGB, row 0 at the top, which is at the end in Blender."""
    height, width, _ = pixels.shape
    if tuple(image.size) != (width, height):
        image.scale(width, height)
    values = np.ones((height, width, 4), np.float32)
    values[..., :3] = pixels[::-1].astype(np.float32) / 255
    image.pixels.foreach_set(values.ravel())
    image.update()
