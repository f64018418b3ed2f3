"""Grain of drawn pictures."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

REACH, TOLERANCE = 6, 24


def without_grain(picture: Tensor) -> Tensor:
    """A picture (H, W, 3) in [0, 1] with flat surfaces and the same edges.

    Mean shift (Comaniciu and Meer, PAMI 2002) over 6 pixels and 24 grey levels of 255: a small diffusion model leaves
    grain where a toy has one colour, and all later stages would take it for its paint.
    """
    levels = (picture.cpu().numpy() * 255).round().astype(np.uint8)
    return torch.from_numpy(cv2.pyrMeanShiftFiltering(levels, REACH, TOLERANCE).astype(np.float32) / 255)
