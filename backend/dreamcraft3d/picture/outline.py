"""Outlines of drawn pictures: found on white, and made firm where they were drawn vaguely."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_erosion, binary_fill_holes, distance_transform_edt, gaussian_filter
from torch import Tensor

WHITE, EDGE = 0.06, 0.4  # an outline lies where so much, and this share of the most, is missing to white


def outlines(rgb: Tensor) -> Tensor:
    """Coverage (N, S, S, 1) of pictures (N, S, S, 3) on white: what differs from white, and what that encloses.

    Without it, white matter on a white ground would cost nothing. How far it must differ goes by what differs most: the
    blurred edge of a dark object lies where it is half as dark, and not where white ends.
    """
    masks = []
    for picture in rgb.cpu().numpy():
        differs = (1 - picture).max(axis=-1)
        edge = max(WHITE, EDGE * float(np.quantile(differs, 0.98)))
        masks.append(binary_fill_holes(differs > edge).astype(np.float32))
    return torch.from_numpy(np.stack(masks)).to(rgb)[..., None]


def firm(rgba: Tensor, rim: int) -> Tensor:
    """A cut-out picture (S, S, 4) without its vague rim: its outline rounded, colours carried on from within.

    Args:
        rgba: sRGB and straight alpha in [0, 1].
        rim: how many pixels from its edge an object's colours and outline cannot be relied upon; 0 leaves the picture as
            it is. What is too thin to have anything farther in keeps its colours.
    """
    if rim == 0:
        return rgba
    alpha = rgba[..., 3].cpu().numpy()
    rounded = (gaussian_filter(alpha, rim / 2) - 0.5) * rim + 0.5  # the slope of its edge is about 1 a pixel again
    within = binary_erosion(alpha > 0.5, iterations=rim)
    if not within.any():
        return rgba
    away, (rows, columns) = distance_transform_edt(~within, return_indices=True)
    carried = torch.from_numpy((away <= 2 * rim) & ~within).to(rgba.device)[..., None]
    rgb = torch.where(carried, rgba[rows, columns, :3], rgba[..., :3])
    return torch.cat([rgb, torch.from_numpy(rounded.clip(0, 1)).to(rgba)[..., None]], dim=-1)
