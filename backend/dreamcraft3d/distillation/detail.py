"""Distillation that paints details and leaves the broad colours as they are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def detail(pictures: Tensor, mask: Tensor, breadth: int) -> Tensor:
    """The same pictures (B, S, S, 3), differentiable in what varies within ``breadth`` pixels only.

    A prior's view of an object's mean colour is a little off, always to the same side, and an optimiser that scales
    its steps by the size of gradients, as Adam does, takes that for the whole message wherever no other loss holds
    the colours: backs turn pale or purple.

    Args:
        mask: (B, S, S, 1) coverage; white around an object is none of its colours.
        breadth: pixels, odd; 0 holds nothing.
    """
    if not breadth:
        return pictures
    covered = mask.detach()
    broad = covered * _mean(pictures * covered, breadth) / _mean(covered, breadth).clamp(min=1e-3)
    return pictures - broad + broad.detach()


def _mean(pictures: Tensor, breadth: int) -> Tensor:
    """Of the ``breadth`` pixels square around each."""
    return F.avg_pool2d(pictures.permute(0, 3, 1, 2), breadth, 1, breadth // 2, count_include_pad=False).permute(
        0, 2, 3, 1
    )
