"""What keeps a volume-rendered shape sound wherever it is seen from; every one a scalar of its pictures and samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.render.volume import VolumeViews
from dreamcraft3d.shape.field import Field

NEARBY = 0.01
"""World units: how far, by its standard deviation, a sample lies from the one whose normal it shall share."""


def entropy(views: VolumeViews) -> Tensor:
    """Binary entropy of opacity, mean over the pixels: least where each is opaque or empty."""
    mask = views.mask.clamp(1e-3, 1 - 1e-3)
    return F.binary_cross_entropy(mask, mask)


def eikonal(views: VolumeViews) -> Tensor:
    """How far a signed distance's slope is from 1, squared (Gropp et al., ICML 2020)."""
    return (views.samples.slope.norm(dim=-1) - 1).square().mean()


def orientation(views: VolumeViews) -> Tensor:
    """How much is seen of what faces away: w max(0, n.d)^2 summed along a ray, mean over rays that meet the object.

    Ref-NeRF, eq. 11 (Verbin et al., CVPR 2022); the weights are taken as they are.
    """
    away = (views.samples.normal * views.directions).sum(dim=-1).clamp(min=0)
    return (views.weights.detach() * away.square()).sum() / (views.mask > 0).sum().clamp(min=1)


def flatness(views: VolumeViews) -> Tensor:
    """Squared difference between neighbouring pixels of the picture of normals, (n + 1) / 2 times opacity."""
    picture = (views.normal + 1) / 2 * views.mask
    down, right = picture.diff(dim=1), picture.diff(dim=2)
    return down.square().mean() + right.square().mean()


def continuity(views: VolumeViews, field: Field, generator: torch.Generator) -> Tensor:
    """Mean absolute difference between the samples' normals and those a hundredth of the unit beside them."""
    beside = NEARBY * torch.randn(views.points.shape, generator=generator).to(views.points)
    return (views.samples.normal - field.query(views.points + beside).normal).abs().mean()
