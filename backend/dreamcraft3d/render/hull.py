"""The visual hull: what all outlines allow (Laurentini, "The visual hull concept", IEEE PAMI 1994)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.render.camera import Cameras


def project_pictures(pictures: Tensor, cameras: Cameras, points: Tensor) -> Tensor:
    """What each of B pictures (B, S, S, C) shows where points (N, 3) fall in it: (B, N, C), 0 beyond its edges."""
    clip = cameras.to(points.device).clip(points)
    place = clip[..., :2] / clip[..., 3:] * torch.tensor([1.0, -1.0], device=clip.device)
    found = F.grid_sample(pictures.permute(0, 3, 1, 2), place[:, None], align_corners=False)
    return found[:, :, 0].transpose(1, 2)


def hull_votes(masks: Tensor, cameras: Cameras, points: Tensor) -> Tensor:
    """(N,) share of the outlines (B, S, S, 1) that contain each point, in [0, 1]."""
    return project_pictures(masks, cameras, points).squeeze(-1).mean(dim=0)
