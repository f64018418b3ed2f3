# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference pictures as icons that a panel can draw."""

from __future__ import annotations

from collections.abc import Mapping

import bpy.utils.previews
import numpy as np

from dreamcraft3d_protocol.arrays import Array


class Pictures:
    """Icons by job."""

    def __init__(self) -> None:
        self._icons = bpy.utils.previews.new()
        self._shown: dict[str, Array] = {}

    def update(self, pictures: Mapping[str, Array]) -> None:
        """Show these pictures, (H, W, 3) uint8 with row 0 at the top, and no others."""
        for job in self._shown.keys() - pictures.keys():
            del self._shown[job], self._icons[job]
        for job, picture in pictures.items():
            if self._shown.get(job) is picture:
                continue
            icon = self._icons[job] if job in self._icons else self._icons.new(job)
            height, width, _ = picture.shape
            values = np.ones((height, width, 4), np.float32)
            values[..., :3] = picture[::-1].astype(np.float32) / 255
            icon.image_size = (width, height)
            icon.image_pixels_float.foreach_set(values.ravel())
            self._shown[job] = picture

    def icon(self, job: str) -> int:
        """For ``icon_value``; 0 if there is no picture of this job."""
        return self._icons[job].icon_id if job in self._icons else 0

    def close(self) -> None:
        bpy.utils.previews.remove(self._icons)
