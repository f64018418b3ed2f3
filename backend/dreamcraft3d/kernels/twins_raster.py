"""The rasterizer's and the silhouette finder's kernels again, in plain torch and Python: slow, and simple to check."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from dreamcraft3d.kernels.antialias import MAX_STEPS, Silhouettes, neighbouring_pairs


def to_pixels(clip: Tensor, height: int, width: int) -> Tensor:
    """Clip space (..., 4) to pixel units (..., 2): x right, y down, the picture's top left corner at 0."""
    ndc = clip[..., :2] / clip[..., 3:]
    return torch.stack([(ndc[..., 0] * 0.5 + 0.5) * width, (0.5 - ndc[..., 1] * 0.5) * height], dim=-1)


def rasterize_ids(clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Twin of ``rasterize.rasterize_ids``: every pixel is held against every triangle. Needs B * F * H * W numbers."""
    corners = clip[:, faces]
    triangle = to_pixels(corners, height, width)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    # (B, F, H, W, corner, xy): corners seen from each pixel
    offset = triangle[:, :, None, None] - torch.stack([x, y], dim=-1).to(clip)[:, :, None]
    following, last = offset.roll(-1, dims=-2), offset.roll(-2, dims=-2)
    areas = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
    whole = areas.sum(dim=-1, keepdim=True)
    weights = areas / whole
    z = (weights * (corners[..., 2] / corners[..., 3])[:, :, None, None]).sum(dim=-1) * 0.5 + 0.5
    ahead = (corners[..., 3] > 0).all(dim=-1)[:, :, None, None]
    covered = (weights >= -1e-6).all(dim=-1) & (whole[..., 0] != 0) & (z >= 0) & (z <= 1) & ahead
    depth, ids = torch.where(covered, z, torch.inf).min(dim=1)
    seen = depth < torch.inf
    return torch.where(seen, ids, -1).to(torch.int32), torch.where(seen, depth, 1.0)


def find_silhouettes(ids: Tensor, depth: Tensor, clip: Tensor, faces: Tensor) -> Silhouettes:
    """Twin of ``antialias.find_silhouettes``: one pair of pixels after the other, the mesh's edges in a dictionary."""
    _, height, width = ids.shape
    triangles = [tuple(face) for face in faces.tolist()]
    sides: dict[frozenset[int], list[int]] = defaultdict(list)
    for number, (a, b, c) in enumerate(triangles):
        for pair in ((a, b), (b, c), (c, a)):
            sides[frozenset(pair)].append(number)

    found = []
    for near, far in neighbouring_pairs(ids, depth).tolist():
        batch, pixel = divmod(near, height * width)
        start = torch.tensor([pixel % width + 0.5, pixel // width + 0.5], dtype=clip.dtype)
        vertical = abs(far - near) == width
        direction = 1.0 if far > near else -1.0
        offset = to_pixels(clip[batch], height, width) - start
        along = (offset[:, 1] if vertical else offset[:, 0]) * direction
        across = offset[:, 0] if vertical else offset[:, 1]
        place = list(zip(along.tolist(), across.tolist(), strict=True))

        face = int(ids.reshape(-1)[near])
        came_by: frozenset[int] | None = None
        for _ in range(MAX_STEPS):
            if face < 0 or any(float(clip[batch, vertex, 3]) <= 0 for vertex in triangles[face]):
                break
            a, b, c = triangles[face]
            crossings = []
            for i, j, own in ((a, b, c), (b, c, a), (c, a, b)):
                (pi, qi), (pj, qj) = place[i], place[j]
                if (qi >= 0) != (qj >= 0) and frozenset((i, j)) != came_by:
                    crossings.append(((pi * qj - pj * qi) / (qj - qi), i, j, own))
            if not crossings or max(crossings)[0] > 1:
                break
            _, i, j, own = max(crossings)
            edge = frozenset((i, j))
            others = [other for other in sides[edge] if other != face]
            opposite = [vertex for vertex in triangles[others[0]] if vertex not in edge] if len(others) == 1 else []
            if not opposite or _side(place, i, j, own) * _side(place, i, j, opposite[0]) >= 0:
                extent_along, extent_across = abs(place[i][0] - place[j][0]), abs(place[i][1] - place[j][1])
                if extent_across > extent_along or (extent_across == extent_along and not vertical):
                    found.append((near, far, i, j))
                break
            face, came_by = others[0], edge

    table = torch.tensor(found, dtype=torch.int64).reshape(-1, 4)
    return Silhouettes(table[:, 0], table[:, 1], table[:, 2:])


def _side(place: list[tuple[float, float]], i: int, j: int, vertex: int) -> float:
    """Positive or negative as a vertex lies on one or the other side of the line through i and j."""
    (xi, yi), (xj, yj), (x, y) = place[i], place[j], place[vertex]
    return (xj - xi) * (y - yi) - (yj - yi) * (x - xi)
