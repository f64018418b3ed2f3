"""Guidance as formulas: how several noise predictions become one.

Classifier-free guidance (Ho and Salimans, 2022) and Perp-Neg (Armandpour et al., "Re-imagine the negative prompt
algorithm", 2023) with the weights of the released DreamCraft3D.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.render.camera import relative_azimuth


def classifier_free(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u + s (c - u): scale 1 is the conditional prediction (Imagen, diffusers, and all scales of this project)."""
    return unconditional + scale * (conditional - unconditional)


def perp_neg(unconditional: Tensor, positive: Tensor, negatives: Tensor, weights: Tensor, scale: float) -> Tensor:
    """u + s (e + sum_i w_i perp(e_i, e)) with e = positive - u and e_i = negative_i - u.

    perp(x, y) = x - <x, y> / max(|y|^2, 1e-6) y, a sample at a time: of what a negative prompt adds, only that part
    counts which the positive does not add, too.

    Args:
        unconditional, positive: (B, C, h, w) noise predictions.
        negatives: (B, N, C, h, w) noise predictions for N negative prompts.
        weights: (B, N), mostly negative.
    """
    added = positive - unconditional
    wrong = negatives - unconditional[:, None]
    along = torch.einsum("bnchw,bchw->bn", wrong, added) / added.square().sum(dim=(1, 2, 3)).clamp(min=1e-6)[:, None]
    perpendicular = wrong - torch.einsum("bn,bchw->bnchw", along, added)
    return unconditional + scale * (added + torch.einsum("bn,bnchw->bchw", weights.to(added), perpendicular))


def perp_neg_weights(azimuth: Tensor) -> Tensor:
    """(B, 2) weights of the negative prompts "front view" and "side view" for azimuths (B,) in degrees.

    With f(r; a, b, c) = a exp(-b r) + c: in the front half, where r falls from 1 at the front to 0 at the side,
    the front's is -f(r; 4, .5, -2.426) and the side's -f(1 - r; 4, .5, -2.426); in the back half, where r falls from 1
    at the side to 0 at the back, the front's is -f(r; 1, .5, .967) and the side's -f(r; 1, .5, -.606).
    """
    away = relative_azimuth(azimuth).abs() / 90
    ahead, behind = 1 - away, 2 - away
    front = torch.where(away < 1, _decay(ahead, 4, -2.426), _decay(behind, 1, 0.967))
    side = torch.where(away < 1, _decay(1 - ahead, 4, -2.426), _decay(behind, 1, -0.606))
    return -torch.stack([front, side], dim=1)


def view_shares(azimuth: Tensor) -> Tensor:
    """(B, 3) shares of "front view", "side view" and "back view" in the positive prompt, linear between the three."""
    away = relative_azimuth(azimuth).abs() / 90
    return torch.stack([1 - away, 1 - (away - 1).abs(), away - 1], dim=1).clamp(min=0)


def _decay(r: Tensor, a: float, c: float) -> Tensor:
    return a * torch.exp(-0.5 * r) + c
