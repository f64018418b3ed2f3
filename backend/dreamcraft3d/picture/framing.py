"""Framing: the object centred on a white square, as large as the priors expect it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dreamcraft3d.errors import UserError

FRONT_FILL = 0.62
"""The larger side of an object's front view, as a fraction of the picture's side."""


@dataclass(frozen=True)
class FramedPicture:
    """A square picture of an object on white.

    Attributes:
        rgb: (S, S, 3) sRGB in [0, 1], already on white.
        mask: (S, S, 1) coverage in [0, 1].
    """

    rgb: Tensor
    mask: Tensor


def frame(rgba: Tensor, size: int) -> FramedPicture:
    """Centre a cut-out object: the larger side of its box spans ``FRONT_FILL`` of the picture.

    The box is that of alpha > 0.5, placed to a fraction of a pixel. Colours are resampled multiplied by alpha, so that
    those of transparent pixels never show.

    Args:
        rgba: (H, W, 4) straight alpha, in [0, 1].
        size: side of the square picture, in pixels.

    Raises:
        UserError: alpha is nowhere above 0.5.
    """
    alpha = rgba[..., 3]
    rows, columns = (torch.nonzero((alpha > 0.5).any(dim=d)).flatten() for d in (1, 0))
    if len(rows) == 0:
        raise UserError("The picture is almost transparent everywhere.", "Give a picture with an opaque object on it.")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    side = max(bottom - top, right - left) / FRONT_FILL
    margin = int(side) + 2  # the square around the box may reach beyond the picture
    x, y = (left + right - side) / 2 + margin, (top + bottom - side) / 2 + margin
    premultiplied = torch.cat([rgba[..., :3] * alpha[..., None], alpha[..., None]], dim=-1).float().cpu().numpy()
    padded = np.pad(premultiplied, ((margin, margin), (margin, margin), (0, 0)))
    channels = [
        Image.fromarray(padded[..., c]).resize((size, size), Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))
        for c in range(4)
    ]
    resampled = torch.from_numpy(np.stack([np.array(c) for c in channels], axis=-1))
    mask = resampled[..., 3:].clamp(0, 1)
    rgb = torch.minimum(resampled[..., :3].clamp(min=0), mask) + (1 - mask)
    return FramedPicture(rgb, mask)
