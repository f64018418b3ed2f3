"""Ray marching: where along each ray is there something to sample?

Uniform steps through a box, of which those in empty cells of an occupancy grid are left out. One thread marches one
ray; it marches twice, once to count its samples and once, when everybody's place in the packed list is known, to write
them, so that their order depends on nothing but the order of the rays.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from dreamcraft3d.kernels import launch_device


@dataclass(frozen=True)
class PackedSamples:
    """The S samples of R rays in one list: ray after ray, and along each ray by rising t.

    Attributes:
        ray_indices: (S,) int64 the ray of each sample.
        t: (S,) float32 distance along the ray of the middle of the interval the sample stands for.
        dt: (S,) float32 length of that interval.
        ray_offsets: (R + 1,) int64; the samples of ray r are ``ray_offsets[r]`` up to ``ray_offsets[r + 1]``.
    """

    ray_indices: Tensor
    t: Tensor
    dt: Tensor
    ray_offsets: Tensor


@wp.func
def _inverse(x: float) -> float:
    # a ray parallel to a face meets its plane very far away, not at infinity: 0 * infinity has no value
    if wp.abs(x) < 1.0e-9:
        return 1.0e9
    return 1.0 / x


@wp.kernel(enable_backward=False)
def _march(
    origins: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    directions: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    occupancy: wp.array3d(dtype=wp.bool),  # type: ignore[valid-type]
    aabb: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    step: float,
    jitter: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
    max_samples: int,
    write: bool,
    offsets: wp.array(dtype=wp.int64),  # type: ignore[valid-type]
    counts: wp.array(dtype=wp.int64),  # type: ignore[valid-type]
    t_written: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
) -> None:
    ray = wp.tid()
    resolution = wp.vec3(float(occupancy.shape[0]), float(occupancy.shape[1]), float(occupancy.shape[2]))
    # from here on in cells, in which the box reaches from 0 to the resolution; t stays in world units
    cells = wp.cw_div(resolution, aabb[1] - aabb[0])
    origin = wp.cw_mul(origins[ray] - aabb[0], cells)
    direction = wp.cw_mul(directions[ray], cells)
    inverse = wp.vec3(_inverse(direction[0]), _inverse(direction[1]), _inverse(direction[2]))
    to_lower = wp.cw_mul(-origin, inverse)
    to_upper = wp.cw_mul(resolution - origin, inverse)
    entry = wp.max(wp.max(wp.min(to_lower, to_upper)), 0.0)
    leave = wp.min(wp.max(to_lower, to_upper))
    found = wp.int32(0)
    i = wp.int32(0)
    t = entry + jitter[ray] * step
    while t < leave and found < max_samples:
        p = origin + direction * t
        x = wp.clamp(int(wp.floor(p[0])), 0, occupancy.shape[0] - 1)
        y = wp.clamp(int(wp.floor(p[1])), 0, occupancy.shape[1] - 1)
        z = wp.clamp(int(wp.floor(p[2])), 0, occupancy.shape[2] - 1)
        if occupancy[x, y, z]:
            if write:
                t_written[offsets[ray] + wp.int64(found)] = t
            found += 1
            i += 1
        else:
            # to the last sample before the far wall of an empty cell: never past it, whatever the rounding
            to_corner = wp.vec3(float(x), float(y), float(z)) - origin
            wall = wp.max(wp.cw_mul(to_corner, inverse), wp.cw_mul(to_corner + wp.vec3(1.0, 1.0, 1.0), inverse))
            i += wp.max(int((wp.min(wall) - t) / step), 1)
        t = entry + (float(i) + jitter[ray]) * step
    counts[ray] = wp.int64(found)


def march_rays(
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    aabb: Tensor,
    step: float,
    jitter: Tensor | None,
    max_samples: int,
) -> PackedSamples:
    """Sample rays at uniform steps between entry into and exit from a box, where an occupancy grid is occupied.

    Sample i of a ray lies at ``entry + (i + jitter) * step`` and stands for an interval of one step about it. A jitter
    uniform in [0, 1) makes every sum over samples times dt an unbiased estimate of the integral. A ray that starts in
    the box enters it at 0. Not differentiable.

    Args:
        origins: (R, 3) float32.
        directions: (R, 3) float32 unit vectors.
        occupancy: (G, G, G) bool, indexed [x, y, z].
        aabb: (2, 3) float32 lower and upper corner of the box, which the occupancy grid fills.
        step: distance between samples.
        jitter: (R,) float32 in [0, 1), or None for 0.5: the middle of each step.
        max_samples: most samples a ray may have; those nearest to its origin are kept.

    Returns:
        The samples, packed.

    Raises:
        ValueError: where the step is not positive.
    """
    if step <= 0:
        raise ValueError(f"the step must be positive, not {step}")
    device = origins.device
    rays = len(origins)
    shift = torch.full((rays,), 0.5, device=device) if jitter is None else jitter
    inputs = [
        wp.from_torch(origins.detach().float().contiguous(), dtype=wp.vec3),
        wp.from_torch(directions.detach().float().contiguous(), dtype=wp.vec3),
        wp.from_torch(occupancy.contiguous()),
        wp.from_torch(aabb.detach().float().contiguous(), dtype=wp.vec3),
        step,
        wp.from_torch(shift.detach().float().contiguous()),
        max_samples,
    ]
    offsets = torch.zeros(rays + 1, dtype=torch.int64, device=device)
    counts = torch.zeros(rays, dtype=torch.int64, device=device)

    def march(write: bool, t: Tensor) -> None:
        outputs = [write, wp.from_torch(offsets), wp.from_torch(counts), wp.from_torch(t)]
        wp.launch(_march, dim=rays, inputs=inputs + outputs, device=launch_device(device))

    march(False, torch.empty(0, device=device))
    torch.cumsum(counts, dim=0, out=offsets[1:])
    t = torch.empty(int(offsets[-1]), device=device)
    march(True, t)
    ray_indices = torch.repeat_interleave(torch.arange(rays, device=device), counts)
    return PackedSamples(ray_indices, t, torch.full_like(t, step), offsets)
