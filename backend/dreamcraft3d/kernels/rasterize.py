"""Rasterization: which triangle does each pixel's centre see first?

One thread a triangle; each covered pixel keeps the smallest 64-bit key ``depth << 32 | face``, so the result does not
depend on the order in which triangles are drawn. Only ids and depths come from the kernel: barycentrics, and so all
gradients, are computed from them in torch (``render/raster.py``).
"""

from __future__ import annotations

import torch
import warp as wp
from torch import Tensor

from dreamcraft3d.kernels import launch_device, nvdiffrast_context

EMPTY = (1 << 62) - 1
_DEPTH_STEPS = wp.constant(float(1 << 29))


@wp.func
def to_pixels(position: wp.vec4, height: int, width: int) -> wp.vec2:
    """Clip space to pixel units: x right, y down, the picture's top left corner at 0. Row 0 is the top, ndc y = +1."""
    return wp.vec2(
        (position[0] / position[3] * 0.5 + 0.5) * float(width),
        (0.5 - position[1] / position[3] * 0.5) * float(height),
    )


@wp.func
def cross(a: wp.vec2, b: wp.vec2) -> float:
    return a[0] * b[1] - a[1] * b[0]


@wp.kernel(enable_backward=False)
def _rasterize(
    clip: wp.array2d(dtype=wp.vec4),  # type: ignore[valid-type]
    faces: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    height: int,
    width: int,
    keys: wp.array3d(dtype=wp.int64),  # type: ignore[valid-type]
) -> None:
    batch, face = wp.tid()  # type: ignore[misc]
    a = clip[batch, faces[face, 0]]
    b = clip[batch, faces[face, 1]]
    c = clip[batch, faces[face, 2]]
    if a[3] <= 0.0 or b[3] <= 0.0 or c[3] <= 0.0:
        return
    pa = to_pixels(a, height, width)
    pb = to_pixels(b, height, width)
    pc = to_pixels(c, height, width)
    area = cross(pb - pa, pc - pa)
    if area == 0.0:
        return
    az = a[2] / a[3]
    bz = b[2] / b[3]
    cz = c[2] / c[3]
    x0 = wp.max(int(wp.ceil(wp.min(pa[0], wp.min(pb[0], pc[0])) - 0.5)), 0)
    x1 = wp.min(int(wp.floor(wp.max(pa[0], wp.max(pb[0], pc[0])) - 0.5)), width - 1)
    y0 = wp.max(int(wp.ceil(wp.min(pa[1], wp.min(pb[1], pc[1])) - 0.5)), 0)
    y1 = wp.min(int(wp.floor(wp.max(pa[1], wp.max(pb[1], pc[1])) - 0.5)), height - 1)
    for row in range(y0, y1 + 1):
        for column in range(x0, x1 + 1):
            p = wp.vec2(float(column) + 0.5, float(row) + 0.5)
            u = cross(pb - p, pc - p) / area
            v = cross(pc - p, pa - p) / area
            t = 1.0 - u - v
            # every pixel on an edge belongs to both its triangles: no cracks, and the key decides
            if u >= -1.0e-6 and v >= -1.0e-6 and t >= -1.0e-6:
                z = (u * az + v * bz + t * cz) * 0.5 + 0.5
                if z >= 0.0 and z <= 1.0:
                    key = (wp.int64(z * _DEPTH_STEPS) << wp.int64(32)) | wp.int64(face)
                    wp.atomic_min(keys, batch, row, column, key)


def rasterize_ids(clip: Tensor, faces: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The nearest triangle at each pixel's centre. Not differentiable.

    Args:
        clip: (B, V, 4) float32 clip-space positions (OpenGL: ndc y up, z in [-1, 1]).
        faces: (F, 3) vertex indices; both windings are drawn. Triangles reaching behind the camera are dropped.
        height, width: picture size; row 0 is the top.

    Returns:
        ids: (B, height, width) int32, -1 where nothing is seen.
        depth: (B, height, width) float32 ndc depth mapped to [0, 1]; 1 where nothing is seen.
    """
    if faces.numel() and (context := nvdiffrast_context(clip.device)) is not None:
        return _rasterize_with_nvdiffrast(context, clip, faces, height, width)
    batch = clip.shape[0]
    device = clip.device
    keys = torch.full((batch, height, width), EMPTY, dtype=torch.int64, device=device)
    if faces.numel() and clip.shape[1]:
        positions = clip.detach().contiguous().float()
        indices = faces.to(torch.int32).contiguous()
        wp.launch(
            _rasterize,
            dim=(batch, len(faces)),
            inputs=[
                wp.from_torch(positions, dtype=wp.vec4),
                wp.from_torch(indices),
                height,
                width,
                wp.from_torch(keys),
            ],
            device=launch_device(device),
        )
    seen = keys != EMPTY
    ids = torch.where(seen, keys & 0xFFFFFFFF, torch.full_like(keys, -1)).to(torch.int32)
    depth = torch.where(seen, (keys >> 32).float() / _DEPTH_STEPS, torch.ones((), device=device))
    return ids, depth


def _rasterize_with_nvdiffrast(
    context: object, clip: Tensor, faces: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    import nvdiffrast.torch as dr

    positions, indices = clip.detach().contiguous().float(), faces.to(torch.int32).contiguous()
    seen, _ = dr.rasterize(context, positions, indices, resolution=[height, width], grad_db=False)
    seen = seen.flip(1)  # its row 0 is the bottom
    ids = seen[..., 3].to(torch.int32) - 1
    return ids, torch.where(ids >= 0, seen[..., 2] * 0.5 + 0.5, torch.ones((), device=clip.device))
