"""Whether a UV map that was given can be painted; knows no torch, so that it can be asked where a job is submitted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamcraft3d.errors import UserError

REACH = 1e-3
"""By which coordinates may leave the picture, as those of islands at its edge do by rounding."""
FLAT = 1e-10
"""An area in the picture that no texel of any texture is as small as."""
FLAT_SHARE = 0.02
OVERLAP_SHARE = 0.1
MEASURED = 1024


def check_uv(vertices: NDArray[Any], faces: NDArray[Any], uv: NDArray[Any]) -> None:
    """Whether every face has a place in the picture.

    Args:
        vertices: (V, 3).
        faces: (F, 3) indices.
        uv: (3F, 2), one for each corner of each face in order.

    Raises:
        UserError: coordinates lie outside of the picture, or too many faces have no area there.
    """
    if uv.min() < -REACH or uv.max() > 1 + REACH:
        raise UserError(
            f"The UV map leaves its texture: coordinates go from {uv.min():.2f} to {uv.max():.2f}, not from 0 to 1.",
            "Pack its islands into the square, or let a new UV map be made.",
        )
    corners, places = vertices[faces].astype(np.float64), uv.reshape(-1, 3, 2).astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    flat = area[uv_areas(places) < FLAT].sum() / max(area.sum(), 1e-30)
    if flat > FLAT_SHARE:
        raise UserError(
            f"{_percent(flat)} of the surface has no area in the UV map, so there is nowhere to paint it.",
            "Unwrap the mesh, or let a new UV map be made.",
        )


def check_overlap(uv: NDArray[Any], covered: float) -> None:
    """Whether faces share so much of the picture that they could not be painted each its own way.

    Args:
        uv: (3F, 2).
        covered: the share of the picture that lies in any face.

    Raises:
        UserError: they do.
    """
    whole = float(uv_areas(uv.reshape(-1, 3, 2).astype(np.float64)).sum())
    shared = 1 - covered / max(whole, 1e-30)
    if shared > OVERLAP_SHARE:
        raise UserError(
            f"Faces lie over each other in the UV map, {_percent(shared)} of them: they cannot be painted apart.",
            "Unwrap the mesh without overlaps, or let a new UV map be made.",
        )


def uv_areas(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) areas of (F, 3, 2) triangles in the picture."""
    a, b = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    area: NDArray[np.float64] = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    return area


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
