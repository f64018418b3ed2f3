"""Texture baking: ask a colour for the surface point under each texel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from dreamcraft3d.export.unwrap import Atlas
from dreamcraft3d.kernels.rasterize import rasterize_ids

# A bilinear lookup on an island's edge reaches texels whose centres are up to a diagonal outside.
_REACH_TEXELS = 1.5


@dataclass(frozen=True)
class Baked:
    """A texture.

    Attributes:
        image: (size, size, 3) float32 sRGB in [0, 1]; row 0 is the top (v = 1). Every texel holds a colour.
        covered: (size, size) bool, the texels that stand for a surface point; the others repeat the nearest of them.
        coverage: the covered fraction of the texture, in [0, 1].
    """

    image: Tensor
    covered: Tensor
    coverage: float


def bake(atlas: Atlas, colour_at: Callable[[Tensor], Tensor], size: int, chunk: int = 1 << 18) -> Baked:
    """Paint a texture with the colours of the surface. Not differentiable.

    A texel whose centre lies in a face takes the surface point there; one just outside an island takes the nearest
    point of the face beside it, and all the rest repeat the nearest covered texel, so that neither bilinear filtering
    nor mip levels ever see a background.

    Args:
        atlas: a mesh with texture coordinates.
        colour_at: (N, 3) world positions on the surface to (N, 3) colours, sRGB in [0, 1] (clamped if outside).
        size: width and height of the texture, in texels.
        chunk: most points handed to ``colour_at`` at once.

    Returns:
        The texture, on the atlas's device.
    """
    face = _face_of_texel(atlas, size)
    rows, columns = torch.nonzero(face >= 0, as_tuple=True)
    corners = atlas.faces[face[rows, columns]]
    centres = torch.stack([columns + 0.5, size - rows - 0.5], dim=1) / size
    weights = _nearest_barycentrics(centres.double(), atlas.uv[corners].double())
    points = (weights[..., None] * atlas.vertices[corners]).sum(dim=1).float()
    with torch.no_grad():
        colours = torch.cat([colour_at(part) for part in points.split(chunk)])

    image = torch.zeros(size, size, 3, device=face.device)
    image[rows, columns] = colours.to(image).clamp(0.0, 1.0)
    covered = face >= 0
    _, row, column = _nearest(covered)
    return Baked(image[row, column], covered, float(covered.float().mean()))


def _face_of_texel(atlas: Atlas, size: int) -> Tensor:
    """(size, size) int64: the face each texel stands for, -1 where it is further than the reach from any."""
    clip = torch.ones(1, len(atlas.uv), 4, device=atlas.uv.device)
    clip[0, :, :2] = atlas.uv * 2 - 1
    clip[0, :, 2] = 0.0
    face = rasterize_ids(clip, atlas.faces, size, size)[0][0].long()

    # faces too small to hold a texel's centre are found by their corners
    corner = atlas.faces.reshape(-1)
    owner = torch.arange(len(atlas.faces), device=corner.device).repeat_interleave(3)
    column = (atlas.uv[corner, 0] * size).long().clamp(0, size - 1)
    row = ((1 - atlas.uv[corner, 1]) * size).long().clamp(0, size - 1)
    texel = row * size + column
    empty = face.view(-1)[texel] < 0
    face.view(-1).scatter_reduce_(0, texel[empty], owner[empty], "amax")

    distance, row, column = _nearest(face >= 0)
    return torch.where(distance <= _REACH_TEXELS, face[row, column], -1)


def _nearest(filled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance in texels to, and row and column of, the nearest filled texel, each (H, W)."""
    distance, (row, column) = distance_transform_edt(~filled.cpu().numpy(), return_indices=True)
    device = filled.device
    return (
        torch.from_numpy(distance).to(device),
        torch.from_numpy(row).to(device, torch.int64),
        torch.from_numpy(column).to(device, torch.int64),
    )


def _nearest_barycentrics(point: Tensor, triangle: Tensor) -> Tensor:
    """Barycentric coordinates (N, 3) of the points of (N, 3, 2) triangles nearest to (N, 2) points."""
    following = triangle.roll(-1, dims=1)
    side = following - triangle
    offset = point[:, None] - triangle
    # twice the signed areas against each side: the weight of the corner opposite, once divided by the whole
    area = side[..., 0] * offset[..., 1] - side[..., 1] * offset[..., 0]
    whole = area.sum(dim=1, keepdim=True)
    inside = area.roll(-1, dims=1) / torch.where(whole == 0, torch.ones_like(whole), whole)

    along = ((offset * side).sum(-1) / (side * side).sum(-1).clamp_min(1e-30)).clamp(0, 1)
    gap = (offset - along[..., None] * side).square().sum(-1)
    best = gap.argmin(dim=1, keepdim=True)
    share = along.gather(1, best)
    outside = torch.zeros_like(inside).scatter_(1, best, 1 - share).scatter_(1, (best + 1) % 3, share)
    is_inside = (whole != 0) & (inside >= 0).all(dim=1, keepdim=True)
    return torch.where(is_inside, inside, outside)
