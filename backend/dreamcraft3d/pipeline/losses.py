"""Losses at the reference view; every one a function of pictures (B, S, S, C)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.pipeline.config import ReferenceLosses, Weight
from dreamcraft3d.pipeline.reference import Reference


def masked_rgb(rgb: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of colour inside the mask (paper: masked L2)."""
    return ((rgb - reference).square() * mask).sum() / (3 * mask.sum()).clamp(min=1)


def eroded_rgb(rgb: Tensor, reference: Tensor, mask: Tensor, rim: int) -> Tensor:
    """Mean absolute error of colour inside the mask less ``rim`` pixels (as released: L1, 4 pixels)."""
    inner = -F.max_pool2d(-mask.permute(0, 3, 1, 2), 2 * rim + 1, stride=1, padding=rim).permute(0, 2, 3, 1)
    return ((rgb - reference).abs() * inner).sum() / (3 * inner.sum()).clamp(min=1)


def mask_error(mask: Tensor, reference: Tensor) -> Tensor:
    """Mean squared error of coverage."""
    return (mask - reference).square().mean()


def negative_pearson(depth: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """1 - correlation of two depths over the mask; indifferent to scale and shift."""
    inside = mask[..., 0] > 0.5
    a, b = depth[inside].flatten(), reference[inside].flatten()
    if a.numel() < 2:
        return depth.sum() * 0
    a, b = a - a.mean(), b - b.mean()
    return 1 - (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-6)


def normal_cosine(normal: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """1 - cosine between unit normals, mean over the mask."""
    inside = mask[..., 0] > 0.5
    return 1 - (normal[inside] * reference[inside]).sum(dim=-1).mean() if inside.any() else normal.sum() * 0


class Views(Protocol):
    """Pictures (B, S, S, C) of an object, as the renderers give them."""

    @property
    def rgb(self) -> Tensor: ...
    @property
    def mask(self) -> Tensor: ...
    @property
    def depth(self) -> Tensor: ...
    @property
    def normal(self) -> Tensor: ...


def reference_losses(weights: ReferenceLosses, reference: Reference, views: Views) -> dict[str, Tensor]:
    """The weighted losses that a stage asks for, by name, of the first view, which is the reference's and of its size."""
    rgb, mask, depth, normal = (pictures[:1] for pictures in (views.rgb, views.mask, views.depth, views.normal))
    losses: dict[str, Tensor] = {}
    if weights.rgb:
        compared = rgb, reference.rgb, reference.mask
        error = eroded_rgb(*compared, weights.rim) if weights.rim else masked_rgb(*compared)
        losses["rgb"] = weights.rgb * error
    if weights.mask:
        losses["mask"] = weights.mask * mask_error(mask, reference.mask)
    if depth_weight := weights.depth * reference.surface:
        losses["depth"] = depth_weight * negative_pearson(depth, reference.depth, reference.mask)
    if normal_weight := weights.normal * reference.surface:
        losses["normal"] = normal_weight * normal_cosine(normal, reference.normal, reference.mask)
    return losses


def weight_at(weight: Weight, step: int) -> float:
    """A loss' weight at a step of its stage; before the first point and after the last it stays as it is there."""
    if isinstance(weight, int | float):
        return weight
    steps, weights = zip(*weight, strict=True)
    return float(np.interp(step, steps, weights))


def total(losses: dict[str, Tensor]) -> Tensor:
    """Their sum, a scalar."""
    return torch.stack(list(losses.values())).sum()
