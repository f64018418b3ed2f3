"""What a drawn picture on white shows, by how it differs from white."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes
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
