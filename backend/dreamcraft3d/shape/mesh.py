"""A triangle mesh in world space: right-handed, z up, +x front."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mesh:
    """Triangles, wound counter-clockwise seen from outside.

    Attributes:
        vertices: (V, 3) float32 positions, world units.
        faces: (F, 3) int64 vertex indices.
        colours: (V, 3) float32 albedo in [0, 1] (sRGB), or None.
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor | None = None
