"""The visual hull: what all outlines allow (Laurentini, "The visual hull concept", IEEE PAMI 1994)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from dreamcraft3d.render.camera import Cameras, half_height

SMOOTH = 1.5  # pixels


def project_pictures(pictures: Tensor, cameras: Cameras, points: Tensor, mode: str = "bilinear") -> Tensor:
    """What each of B pictures (B, S, S, C) shows where points (N, 3) fall in it: (B, N, C), 0 beyond its edges.

    ``mode``: how it is looked up between pixels, as ``torch.nn.functional.grid_sample`` knows it.
    """
    clip = cameras.to(points.device).clip(points)
    place = clip[..., :2] / clip[..., 3:] * torch.tensor([1.0, -1.0], device=clip.device)
    found = F.grid_sample(pictures.permute(0, 3, 1, 2), place[:, None], mode, align_corners=False)
    return found[:, :, 0].transpose(1, 2)


def hull_votes(masks: Tensor, cameras: Cameras, points: Tensor) -> Tensor:
    """(N,) share of the outlines (B, S, S, 1) that contain each point, in [0, 1]."""
    return project_pictures(masks, cameras, points).squeeze(-1).mean(dim=0)


def missed_parts(
    outline: Tensor, front: Cameras, masks: Tensor, cameras: Cameras, share: float, half_extent: float, points: Tensor
) -> Tensor:
    """Which points (N,) belong to parts that one trusted view shows and the other outlines, which err, have missed.

    A pixel of the trusted outline is missed where at no depth behind it more than ``share`` of the others agree. Its part
    is taken to lie as deep in the scene as the nearest part that is not missed, and to be as thick as it looks wide.

    Args:
        outline: (1, S, S, 1) of the trusted view.
        front: its camera, one.
        masks: (B, S, S, 1), the other outlines.
        cameras: theirs.
        half_extent: the object lies in [-half_extent, half_extent]^3.
    """
    size = outline.shape[1]
    depths = torch.linspace(-half_extent, half_extent, size, device=points.device)
    origins, directions = front.to(points.device).rays(size)
    forward = -front.to(points.device).c2w[0, :3, 2]
    along = origins + directions * ((front.distance + depths)[:, None, None] / (directions @ forward))[..., None]
    agreed = hull_votes(masks, cameras, along.reshape(-1, 3)).reshape(size, size, size) > share
    found, shown = agreed.any(dim=0), outline[0, ..., 0] > 0.5
    # A ray that only grazes a part agrees with it at few depths, on the near side of its middle: its neighbours' count more.
    depth_sum, count = (
        torch.from_numpy(gaussian_filter(of.float().cpu().numpy(), SMOOTH)).to(depths)
        for of in ((agreed * depths[:, None, None]).sum(dim=0), agreed.sum(dim=0))
    )
    middle = depth_sum / count.clamp(min=1e-3)
    row, column = distance_transform_edt(~found.cpu().numpy(), return_distances=False, return_indices=True)
    pixel = 2 * half_height() / size
    radius = torch.from_numpy(distance_transform_edt(shown.cpu().numpy())).to(middle) * pixel
    maps = torch.stack([(shown & ~found).to(middle), middle[row, column], radius], dim=-1)
    missed, place, thick = project_pictures(maps[None], front, points, "nearest")[0].unbind(dim=-1)
    depth = front.to(points.device).clip(points)[0, :, 3] - front.distance
    return (missed > 0.5) & ((depth - place).abs() <= thick)
