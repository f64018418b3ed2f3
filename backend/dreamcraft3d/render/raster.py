"""Differentiable rasterization: ids from a kernel, everything else in torch.

Given the triangle a pixel sees, its barycentrics follow from the clip-space corners by the homogeneous edge functions
(Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997), which are perspective-correct and
differentiable; attributes are then weighted sums. Visibility itself has no gradient: see ``kernels/antialias.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamcraft3d.kernels.rasterize import rasterize_ids


@dataclass(frozen=True)
class Fragments:
    """The P covered pixels of a batch of pictures.

    Attributes:
        ids: (B, H, W) int32 triangle seen at each pixel, -1 for none.
        pixels: (P,) int64 flat index into B*H*W of each covered pixel, ascending.
        corners: (P, 3) int64 vertex indices of the triangle seen.
        barycentric: (P, 3) perspective-correct weights of its corners; differentiable in the clip positions.
        depth: (B, H, W) ndc depth mapped to [0, 1], 1 for nothing seen.
        front: (P,) bool, whether the triangle is seen from the side on which it is wound counter-clockwise.
    """

    ids: Tensor
    pixels: Tensor
    corners: Tensor
    barycentric: Tensor
    depth: Tensor
    front: Tensor

    def interpolate(self, attribute: Tensor) -> Tensor:
        """Vertex attribute (V, C) at the covered pixels, (P, C); differentiable in both."""
        a, b, c = gather(attribute, self.corners.T)
        u, v, w = self.barycentric[..., None].unbind(dim=1)
        return u * a + v * b + w * c

    def interpolate_corners(self, attribute: Tensor) -> Tensor:
        """An attribute (3F, C) of each corner of each face in order at the covered pixels, (P, C)."""
        first = 3 * self.ids.reshape(-1)[self.pixels].long()
        a, b, c = gather(attribute, torch.stack([first, first + 1, first + 2]))
        u, v, w = self.barycentric[..., None].unbind(dim=1)
        return u * a + v * b + w * c

    def scatter(self, values: Tensor, background: Tensor | float = 0.0) -> Tensor:
        """Values (P, C) laid into pictures (B, H, W, C) over a background (scalar, (C,) or (B, H, W, C))."""
        batch, height, width = self.ids.shape
        flat = torch.empty(batch * height * width, values.shape[-1], device=values.device, dtype=values.dtype)
        base = torch.as_tensor(background, device=values.device, dtype=values.dtype)
        flat = flat.copy_(base.reshape(-1, values.shape[-1]) if base.dim() == 4 else base.expand_as(flat))
        return flat.index_put_((self.pixels,), values).reshape(batch, height, width, -1)

    @property
    def views(self) -> Tensor:
        """(P,) the picture each covered pixel belongs to."""
        return self.pixels // (self.ids.shape[1] * self.ids.shape[2])


def rasterize(clip: Tensor, faces: Tensor, height: int, width: int) -> Fragments:
    """Rasterize one mesh into a batch of pictures.

    Args:
        clip: (B, V, 4) clip-space positions.
        faces: (F, 3) int64 vertex indices.
    """
    ids, depth = rasterize_ids(clip, faces, height, width)
    pixels = torch.nonzero(ids.reshape(-1) >= 0).squeeze(-1)
    corners = faces[ids.reshape(-1)[pixels].long()]
    view = pixels // (height * width)
    x = ((pixels % width).float() + 0.5) / width * 2 - 1
    y = 1 - ((pixels // width % height).float() + 0.5) / height * 2
    # corner by corner, so that torch works on long rows
    points = gather(clip.reshape(-1, 4), corners.T + view * clip.shape[1])
    (xa, xb, xc), (ya, yb, yc) = points[..., 0] - x * points[..., 3], points[..., 1] - y * points[..., 3]
    weights = torch.stack([xb * yc - yb * xc, xc * ya - yc * xa, xa * yb - ya * xb])
    total = weights.sum(dim=0)
    return Fragments(ids, pixels, corners, (weights / total).T, depth, total.detach() > 0)


def gather(rows: Tensor, indices: Tensor) -> Tensor:
    """``rows[indices]`` of (V, C) and (...), which is (..., C); its backward is several times faster on the CPU."""
    return rows.index_select(0, indices.reshape(-1)).reshape(*indices.shape, rows.shape[-1])
