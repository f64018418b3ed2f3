"""Volume rendering of fields: samples marched through an occupancy grid, composited along each ray.

    w_i = alpha_i T_i,  T_i = prod_{j<i} (1 - alpha_j)

Samples of all rays lie in one packed list, so the transmittance is one running sum over the whole list, less its value
where each ray begins (kept in float64, since the sum runs over many rays). Colour is shaded once a pixel, from the
composited albedo and normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.kernels.march import PackedSamples, march_rays
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.shading import light
from dreamcraft3d.shape.field import Field, FieldSamples

HIDDEN = 1e-3
"""Samples of which less than this share is seen are left out."""


@dataclass(frozen=True)
class VolumeViews:
    """Pictures (B, size, size, C) of a field, and what regularisers need of its N samples.

    Attributes:
        rgb: shaded colour over the background.
        mask: opacity.
        normal: composited world normals, unit where opaque.
        depth: expected distance along the camera's axis less the camera's distance, 0 where empty (far = large).
        points, directions: (N, 3) where the samples are, and along which rays.
        samples, weights: the field's answers there, and their (N,) weights.
    """

    rgb: Tensor
    mask: Tensor
    normal: Tensor
    depth: Tensor
    points: Tensor
    directions: Tensor
    samples: FieldSamples
    weights: Tensor


def composite(alpha: Tensor, packed: PackedSamples) -> Tensor:
    """Weights (N,) of packed samples from their opacities (N,)."""
    return alpha * _transmittance(alpha, packed)


def _transmittance(alpha: Tensor, packed: PackedSamples) -> Tensor:
    through = torch.log1p(-alpha.clamp(max=1 - 1e-6)).double()
    before = torch.cumsum(through, dim=0) - through
    start = torch.cat([before, before.new_zeros(1)])[packed.ray_offsets[:-1].clamp(max=len(before))]
    return torch.exp(before - start[packed.ray_indices]).float()


@torch.no_grad()
def _visible(field: Field, origins: Tensor, directions: Tensor, packed: PackedSamples) -> PackedSamples:
    """The samples that light can reach: most of a solid object's lie behind its surface, and cost as much as any."""
    rays = packed.ray_indices
    raw = field.geometry(origins[rays] + directions[rays] * packed.t[:, None])
    kept = _transmittance(field.opacity(raw, packed.dt), packed) > HIDDEN
    counts = torch.zeros(len(origins), dtype=torch.int64, device=rays.device).index_add_(0, rays, kept.long())
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return PackedSamples(rays[kept], packed.t[kept], packed.dt[kept], offsets)


def render_volume(
    field: Field,
    cameras: Cameras,
    size: int,
    occupancy: Tensor,
    step: float,
    background: Tensor | float = 1.0,
    jitter: Tensor | None = None,
    shaded: float = 1.0,
) -> VolumeViews:
    """Render a field; differentiable in its parameters.

    Args:
        cameras: B cameras.
        size: side of the pictures, pixels.
        occupancy: (G, G, G) bool over the field's box; empty cells are skipped.
        step: distance between samples, world units.
        background: colour behind the object, scalar or (3,).
        jitter: (B, size * size) in [0, 1), where each ray's samples lie in their steps; None is the middle.
        shaded: 1 lights the surface, 0 shows plain albedo, between blends.
    """
    origins, directions = (x.reshape(-1, 3) for x in cameras.rays(size))
    rays = len(origins)
    device = origins.device
    extent = field.half_extent
    box = torch.tensor([[-extent] * 3, [extent] * 3], device=device)
    places = None if jitter is None else jitter.flatten().to(device)
    packed = march_rays(origins, directions, occupancy, box, step, places, max_samples=1024)
    packed = _visible(field, origins, directions, packed)
    along = directions[packed.ray_indices]
    points = origins[packed.ray_indices] + along * packed.t[:, None]
    samples = field.query(points)
    weights = composite(field.alpha(samples, along, packed.dt), packed)

    axis = F.normalize(-cameras.position, dim=-1).to(device).repeat_interleave(size * size, dim=0)
    depth = packed.t * (along * axis[packed.ray_indices]).sum(dim=-1) - cameras.distance
    values = torch.cat([samples.albedo, samples.normal, depth[:, None], torch.ones_like(depth)[:, None]], dim=-1)
    pixels = torch.zeros(rays, 8, device=device).index_add(0, packed.ray_indices, values * weights[:, None])
    albedo, normal, depth, mask = pixels.split([3, 3, 1, 1], dim=-1)
    unit = F.normalize(normal, dim=-1, eps=1e-3)
    brightness = 1 + shaded * (light(unit, -directions) - 1)
    rgb = albedo * brightness + (1 - mask) * background
    shape = (len(cameras), size, size, -1)
    depth = depth / mask.clamp(min=1e-3)
    rgb, mask, unit, depth = (values.reshape(shape) for values in (rgb, mask, unit, depth))
    return VolumeViews(rgb, mask, unit, depth, points, along, samples, weights)
