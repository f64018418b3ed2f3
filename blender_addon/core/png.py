# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels as the bytes of a PNG, for pictures that are in no file."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from dreamcraft3d_protocol.arrays import Array


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
