"""The captioned objects the embedded priors learn from.

A folder with ``train.npz`` and ``val.npz``: ``verts`` (T, 3, 3) triangle corners with y up and front toward +z,
``cols`` (T, 3, 3) uint8 sRGB at each corner, ``offsets`` (N+1,), ``ids``, ``captions``, ``category``, each (N,).
Named by ``--objects`` or the environment variable ``DREAMCRAFT3D_OBJECTS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.render.camera import half_height
from dreamcraft3d.shape.mesh import Mesh

DEEPEST = 1.15
"""Objects far deeper than they are wide are scaled down until their ground diagonal is this fraction of the picture."""


@dataclass(frozen=True)
class Objects:
    """N captioned triangle soups."""

    ids: list[str]
    captions: list[str]
    categories: list[str]
    corners: np.ndarray
    colours: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def load(folder: Path, split: str) -> Objects:
        """Read ``train`` or ``val``.

        Raises:
            UserError: the file is not there.
        """
        path = folder / f"{split}.npz"
        if not path.is_file():
            raise UserError(f"There is no {path}.", "Name the folder with --objects or DREAMCRAFT3D_OBJECTS.")
        data = np.load(path, allow_pickle=False)
        return Objects(
            [str(x) for x in data["ids"]],
            [str(x) for x in data["captions"]],
            [str(x) for x in data["category"]],
            data["verts"],
            data["cols"],
            data["offsets"],
        )

    def __len__(self) -> int:
        return len(self.ids)

    def mesh(self, index: int, jitter: float = 1.0) -> Mesh:
        """One object in world axes (z up, +x front), centred and framed as a reference picture frames it.

        Args:
            index: which object.
            jitter: factor on its size.
        """
        span = slice(self.offsets[index], self.offsets[index + 1])
        corners = torch.from_numpy(self.corners[span].astype(np.float32)).reshape(-1, 3)[:, [2, 0, 1]]
        low, high = corners.amin(dim=0), corners.amax(dim=0)
        depth, width, height = (high - low).tolist()
        frame = 2 * half_height()
        scale = min(
            FRONT_FILL * frame / max(width, height, 1e-6), DEEPEST * frame / max((depth**2 + width**2) ** 0.5, 1e-6)
        )
        vertices = (corners - (low + high) / 2) * (scale * jitter)
        colours = torch.from_numpy(self.colours[span].astype(np.float32) / 255).reshape(-1, 3)
        return Mesh(vertices, torch.arange(len(vertices)).reshape(-1, 3), colours)
