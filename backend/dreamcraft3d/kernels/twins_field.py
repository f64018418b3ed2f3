"""The hash-grid and ray-marching kernels again in plain torch: slow, in any precision, differentiable by autograd."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from dreamcraft3d.kernels.hashgrid import PRIME_Y, PRIME_Z, HashGridSpec
from dreamcraft3d.kernels.march import PackedSamples


def hash_encode(points: Tensor, table: Tensor, spec: HashGridSpec, active_levels: int | None = None) -> Tensor:
    """Twin of ``hashgrid.hash_encode``; computes in the dtype of its input and can be differentiated twice."""
    active = spec.levels if active_levels is None else active_levels
    encoded = []
    for level in range(spec.levels):
        if level >= active:
            encoded.append(points.new_zeros(len(points), spec.features))
            continue
        position = points * spec.scales[level] + 0.5
        cell = position.detach().floor()
        fraction = position - cell
        start, stop = spec.offsets[level : level + 2]
        resolution = spec.resolutions[level]
        total = points.new_zeros(len(points), spec.features)
        for corner in product((0, 1), repeat=3):
            offset = torch.tensor(corner, device=points.device)
            x, y, z = (cell.long() + offset).unbind(dim=-1)
            if spec.dense[level]:
                index = x + resolution * (y + resolution * z)
            else:
                index = (x ^ (y * PRIME_Y) ^ (z * PRIME_Z)) & 0xFFFFFFFF
            weight = torch.where(offset == 1, fraction, 1 - fraction).prod(dim=-1, keepdim=True)
            total = total + weight * table[start + index % (stop - start)]
        encoded.append(total)
    return torch.cat(encoded, dim=-1)


def march_rays(
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    aabb: Tensor,
    step: float,
    jitter: Tensor | None,
    max_samples: int,
) -> PackedSamples:
    """Twin of ``march.march_rays``: every sample of every ray is made, then those in empty cells are dropped."""
    resolution = torch.tensor(occupancy.shape, device=origins.device)
    cells = resolution / (aabb[1] - aabb[0])
    origin, direction = (origins - aabb[0]) * cells, directions * cells
    inverse = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e9), 1 / direction)
    to_lower, to_upper = -origin * inverse, (resolution - origin) * inverse
    entry = torch.minimum(to_lower, to_upper).amax(dim=-1).clamp(min=0)
    leave = torch.maximum(to_lower, to_upper).amin(dim=-1)
    shift = torch.full_like(entry, 0.5) if jitter is None else jitter
    steps = int(((leave - entry).amax() / step).clamp(min=0).ceil()) + 1 if len(origins) else 0
    t = entry[:, None] + (torch.arange(steps, device=origins.device) + shift[:, None]) * step
    cell = (origin[:, None] + direction[:, None] * t[..., None]).floor().long()
    x, y, z = cell.clamp(min=torch.zeros_like(resolution), max=resolution - 1).unbind(dim=-1)
    kept = (t < leave[:, None]) & occupancy[x, y, z]
    kept &= kept.cumsum(dim=1) <= max_samples
    ray_indices = kept.nonzero()[:, 0]
    offsets = torch.cat([ray_indices.new_zeros(1), kept.sum(dim=1).cumsum(dim=0)])
    return PackedSamples(ray_indices, t[kept], torch.full_like(t[kept], step), offsets)
