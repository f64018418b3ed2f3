# SPDX-License-Identifier: GPL-3.0-or-later
"""A texture as the floats that Blender takes, made by a thread of their own while Blender goes on."""

from __future__ import annotations

from threading import Thread

import numpy as np

from dreamcraft3d_protocol.arrays import Array

SIDE = 512
"""Of what is shown while it is painted, at most: Blender computes a byte of each float, which keeps the artist waiting."""


class Pixels:
    """One texture, every second, third... row and column of a large one.

    Attributes:
        height, width: of what is shown.
    """

    def __init__(self, picture: Array) -> None:
        """``picture`` is (H, W, 3) uint8, row 0 at the top."""
        step = -(-max(picture.shape) // SIDE)
        picture = picture[::step, ::step]
        self.height, self.width, _ = picture.shape
        self._values = np.empty(0, np.float32)
        self._thread = Thread(target=self._make, args=(picture,), name="pixels", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether :meth:`values` need not wait."""
        return not self._thread.is_alive()

    def values(self) -> Array:
        """(H * W * 4,) float32: RGBA in [0, 1], opaque, from the last row to the first, as in Blender."""
        self._thread.join()
        return self._values

    def _make(self, picture: Array) -> None:
        """A pixel's three bytes are read as a word of four, whose last byte is made 255: thrice as fast as by channels."""
        padded = np.empty(picture.size + 1, np.uint8)
        padded[:-1] = picture.ravel()
        rows: Array = np.ndarray((self.height, self.width), "<u4", padded, strides=(3 * self.width, 3))[::-1]
        self._values = np.multiply((rows | np.uint32(0xFF000000)).view(np.uint8).ravel(), np.float32(1 / 255))
