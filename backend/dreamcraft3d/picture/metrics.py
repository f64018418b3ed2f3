"""How alike pictures are, inside the object; how alike their outlines are; how much detail a picture shows."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance
from torch import Tensor

SAME = 1e-10
"""Mean squared error below which pictures count as the same, so that their PSNR is 100 dB and not infinite."""


def psnr(picture: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Peak signal-to-noise ratio inside a mask, dB: -10 log10 of the mean squared error, at most 100.

    Args:
        picture, truth: (H, W, C) in [0, 1].
        mask: (H, W, 1); pixels above 0.5 count. NaN if there are none.
    """
    error = (picture - truth)[mask[..., 0] > 0.5].square().mean()
    return float(-10 * torch.log10(error.clamp(min=SAME)))


def mask_iou(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two masks (H, W, 1), inside above 0.5; 1 if both are empty."""
    a, b = first > 0.5, second > 0.5
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def sharpness(picture: Tensor, mask: Tensor, margin: int = 3) -> float:
    """Mean gradient magnitude inside the object, per pixel: central differences, averaged over the channels.

    The outline does not count: a silhouette against white is sharp whatever is inside it. The gradient, and not the
    variance of the Laplacian, because it grows with the contrast and not with its square, and because noise from pixel
    to pixel, which central differences hardly see, is no detail. It depends on the size of the pictures compared.

    Args:
        picture: (H, W, C) in [0, 1].
        mask: (H, W, 1) coverage.
        margin: pixels by which the mask is eroded, at least 1. 0 is returned if nothing is left.
    """
    outside = (mask[..., 0] <= 0.5).float()[None, None]
    grown = F.max_pool2d(F.pad(outside, (margin,) * 4, value=1.0), 2 * margin + 1, stride=1)
    inside = grown[0, 0] < 0.5
    down, across = torch.gradient(picture, dim=(0, 1))
    return float(torch.hypot(down, across)[inside].mean()) if inside.any() else 0.0


def disagreement(pictures: Tensor, masks: Tensor) -> float:
    """How unlike the views of one object are in their colours, wherever in the picture each colour is; 0 if they share all.

    The mean, over all pairs of views and over the channels, of the 1-Wasserstein distance between the values inside the
    two outlines: how far, in the mean, a pixel's value has to be moved for one view to have the colours of the other.

    Args:
        pictures: (N, H, W, C) in [0, 1], N at least 2.
        masks: (N, H, W, 1); pixels above 0.5 count. NaN if a picture has none.
    """
    inside = [picture[mask[..., 0] > 0.5].T.numpy() for picture, mask in zip(pictures, masks, strict=True)]
    if not all(values.size for values in inside):
        return float("nan")
    pairs = combinations(inside, 2)
    return fmean(wasserstein_distance(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
