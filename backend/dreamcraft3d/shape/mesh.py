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
        uv: (3F, 2) float32, the place of each corner of each face in order in a UV map of its own, (0, 0) at the bottom
            left of the picture; or None.
        texture: (H, W, 3) float32 albedo in [0, 1] (sRGB) in that map, row 0 at the top, or None.
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor | None = None
    uv: Tensor | None = None
    texture: Tensor | None = None
