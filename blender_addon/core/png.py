# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels as bytes, and as those of a PNG, for pictures that are in no file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from dreamcraft3d_protocol.arrays import Array

from .placement import srgb


def as_bytes(values: Array, linear: bool) -> Array:
    """(H, W, 1 to 4) floats as (H, W, 4) uint8: sRGB with straight alpha.

    Args:
        linear: whether they are as Blender keeps float images: linear and multiplied by alpha.
    """
    channels = values.shape[-1]
    alpha = values[..., 3:4] if channels == 4 else np.ones_like(values[..., :1])
    colour = values[..., :3] if channels >= 3 else np.repeat(values[..., :1], 3, axis=-1)
    if linear:
        colour = srgb(colour / np.maximum(alpha, 1e-6))
    both = np.concatenate([colour, alpha], axis=-1)
    return np.asarray((np.nan_to_num(both).clip(0, 1) * 255).round(), np.uint8)


def encode_png(pixels: Array) -> bytes:
    """A PNG of (H, W, 4) uint8: sRGB with straight alpha, row 0 at the top."""
    height, width, _ = pixels.shape
    unfiltered = np.zeros((height, 1 + 4 * width), np.uint8)
    unfiltered[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(unfiltered.tobytes(), 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
