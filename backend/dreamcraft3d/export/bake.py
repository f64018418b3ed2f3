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
CHUNK = 1 << 18


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


@dataclass(frozen=True)
class Canvas:
    """Which points of a surface the texels of its texture stand for.

    A texel whose centre lies in a face takes the surface point there; one just outside an island takes the nearest
    point of the face beside it, and all the rest repeat the nearest covered texel, so that neither bilinear filtering
    nor mip levels ever see a background.

    Attributes:
        covered: (H, W) bool, the texels that stand for a surface point.
        rows, columns: (N,) int64, where those are.
        face: (N,) int64, the face of each.
        weights: (N, 3) float32 barycentric coordinates in it.
        points: (N, 3) float32 the surface points.
        nearest: row and column (H, W) int64 of the nearest covered texel, and the distance to it in texels.
    """

    covered: Tensor
    rows: Tensor
    columns: Tensor
    face: Tensor
    weights: Tensor
    points: Tensor
    nearest: tuple[Tensor, Tensor, Tensor]

    @staticmethod
    def of(atlas: Atlas, height: int, width: int, chunk: int = CHUNK) -> Canvas:
        """Of a mesh with texture coordinates, on its device."""
        face = _face_of_texel(atlas, height, width)
        covered = face >= 0
        rows, columns = torch.nonzero(covered, as_tuple=True)
        centres = torch.stack([(columns + 0.5) / width, (height - rows - 0.5) / height], dim=1)
        face = face[rows, columns]
        weights, points = [], []
        for centre, corners in zip(centres.split(chunk), atlas.faces[face].split(chunk), strict=True):
            weight = _nearest_barycentrics(centre.double(), atlas.uv[corners].double())
            points.append((weight[..., None] * atlas.vertices[corners]).sum(dim=1).float())
            weights.append(weight.float())
        distance, row, column = _nearest(covered)
        return Canvas(covered, rows, columns, face, torch.cat(weights), torch.cat(points), (row, column, distance))

    def painted(self, colour_at: Callable[[Tensor], Tensor], chunk: int = CHUNK) -> Tensor:
        """(H, W, 3) the colours of points (N, 3), clamped to [0, 1]. Not differentiable."""
        with torch.no_grad():
            return self.filled(torch.cat([colour_at(part) for part in self.points.split(chunk)]).clamp(0.0, 1.0))

    def filled(self, values: Tensor) -> Tensor:
        """(H, W, C) from the values (N, C) of the covered texels; the rest repeat the nearest."""
        image = torch.zeros(*self.covered.shape, values.shape[-1], device=self.covered.device)
        image[self.rows, self.columns] = values.to(image)
        row, column, _ = self.nearest
        return image[row, column]

    def interpolate_corners(self, attribute: Tensor) -> Tensor:
        """An attribute (3F, C) of each corner of each face in order at the covered texels, (N, C)."""
        return (attribute.reshape(-1, 3, attribute.shape[-1])[self.face] * self.weights[..., None]).sum(dim=1)


def bake(atlas: Atlas, colour_at: Callable[[Tensor], Tensor], size: int, chunk: int = CHUNK) -> Baked:
    """Paint a texture with the colours of the surface; see :class:`Canvas`. Not differentiable.

    Args:
        atlas: a mesh with texture coordinates.
        colour_at: (N, 3) world positions on the surface to (N, 3) colours, sRGB in [0, 1] (clamped if outside).
        size: width and height of the texture, in texels.
        chunk: most points handed to ``colour_at`` at once.

    Returns:
        The texture, on the atlas's device.
    """
    canvas = Canvas.of(atlas, size, size)
    return Baked(canvas.painted(colour_at, chunk), canvas.covered, float(canvas.covered.float().mean()))


def _face_of_texel(atlas: Atlas, height: int, width: int) -> Tensor:
    """(height, width) int64: the face each texel stands for, -1 where it is further than the reach from any."""
    face = face_at(atlas, height, width)

    # faces too small to hold a texel's centre are found by their corners
    corner = atlas.faces.reshape(-1)
    owner = torch.arange(len(atlas.faces), device=corner.device).repeat_interleave(3)
    column = (atlas.uv[corner, 0] * width).long().clamp(0, width - 1)
    row = ((1 - atlas.uv[corner, 1]) * height).long().clamp(0, height - 1)
    texel = row * width + column
    empty = face.view(-1)[texel] < 0
    face.view(-1).scatter_reduce_(0, texel[empty], owner[empty], "amax")

    distance, row, column = _nearest(face >= 0)
    return torch.where(distance <= _REACH_TEXELS, face[row, column], -1)


def face_at(atlas: Atlas, height: int, width: int) -> Tensor:
    """(height, width) int64: the face that each texel's centre lies in, -1 for none."""
    clip = torch.ones(1, len(atlas.uv), 4, device=atlas.uv.device)
    clip[0, :, :2] = atlas.uv * 2 - 1
    clip[0, :, 2] = 0.0
    return rasterize_ids(clip, atlas.faces, height, width)[0][0].long()


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
