# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of jobs as icons that a panel can draw."""

from __future__ import annotations

from collections.abc import Mapping

import bpy.utils.previews
import numpy as np

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.messages import Subject

from ..core.previews import Picture


class Pictures:
    """Icons by job and by what they show."""

    def __init__(self) -> None:
        self._icons = bpy.utils.previews.new()
        self._shown: dict[str, Picture] = {}

    def update(self, pictures: Mapping[str, Mapping[Subject, Picture]]) -> None:
        """Show these pictures, by job and subject, and no others."""
        wanted = {_name(job, subject): picture for job, held in pictures.items() for subject, picture in held.items()}
        for name in self._shown.keys() - wanted.keys():
            del self._shown[name], self._icons[name]
        for name, picture in wanted.items():
            if self._shown.get(name) is picture:
                continue
            icon = self._icons[name] if name in self._icons else self._icons.new(name)
            fill(icon, picture.pixels)
            self._shown[name] = picture

    def icon(self, job: str, subject: Subject) -> int:
        """For ``icon_value``; 0 if there is no such picture."""
        name = _name(job, subject)
        return self._icons[name].icon_id if name in self._icons else 0

    def close(self) -> None:
        bpy.utils.previews.remove(self._icons)


def fill(preview: bpy.types.ImagePreview, pixels: Array) -> None:
    """Show (H, W, 3) uint8, row 0 at the top."""
    height, width, _ = pixels.shape
    values = np.full((height, width, 4), 255, np.uint8)
    values[..., :3] = pixels[::-1]
    preview.image_size = (width, height)
    preview.image_pixels.foreach_set(values.view(np.int32).ravel())


def _name(job: str, subject: Subject) -> str:
    return f"{job} {subject}"
