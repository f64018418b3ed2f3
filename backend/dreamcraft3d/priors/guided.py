"""Guided noise predictions: classifier-free guidance in its two conventions, Perp-Neg, and prompts between views."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.render.camera import relative_azimuth


def guide_from_unconditional(without: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u + s (c - u): a scale of 1 is the conditional prediction itself (Imagen, diffusers, and this project's scales)."""
    return without + scale * (conditional - without)


def guide_from_conditional(without: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """c + s (c - u): a scale of 0 is the conditional prediction itself.

    Ho and Salimans, "Classifier-free diffusion guidance", 2022; also what DreamCraft3D's released code does with
    DeepFloyd IF when Perp-Neg is off. The same as a scale of s + 1 in the other convention.
    """
    return conditional + scale * (conditional - without)


def perp_neg(without: Tensor, conditional: Tensor, negatives: Tensor, weights: Tensor, scale: float) -> Tensor:
    """u + s (e + sum_i w_i perp(e_i, e)) with e = c - u and e_i = n_i - u; perp(e_i, e) is e_i less its part along e.

    Armandpour et al., "Re-imagine the negative prompt algorithm", 2023: what the negative prompts want is avoided, but
    not where it is what the prompt itself wants.

    Args:
        without, conditional: (B, C, h, w) noise predicted for no words, and for the prompt.
        negatives: (B, N, C, h, w) noise predicted for N negative prompts.
        weights: (B, N), negative.
    """
    wanted = conditional - without
    unwanted = negatives - without[:, None]
    inner = (unwanted * wanted[:, None]).sum(dim=(2, 3, 4), keepdim=True)
    length = wanted.square().sum(dim=(1, 2, 3)).clamp(min=1e-6)
    apart = unwanted - inner / length[:, None, None, None, None] * wanted[:, None]
    return without + scale * (wanted + (weights[:, :, None, None, None] * apart).sum(dim=1))


def view_shares(azimuth: Tensor) -> Tensor:
    """(B, 3) shares of the front, side and back view's prompts at azimuths (B,) in degrees; they sum to 1.

    Linear between the views, at 0, 90 and 180 degrees to either side. Elevation plays no part.
    """
    turns = _quarter_turns(azimuth)
    return (1 - (turns[:, None] - torch.arange(3, device=azimuth.device)).abs()).clamp(min=0)


def prompt_between_views(features: Tensor, azimuth: Tensor) -> Tensor:
    """(B, L, D) word features at azimuths (B,), from those of the front, side and back view's prompts (3, L, D)."""
    return torch.einsum("bv,vld->bld", view_shares(azimuth).to(features), features)


def negative_view_weights(azimuth: Tensor) -> Tensor:
    """(B, 2) weights for :func:`perp_neg` of the front and the side view's prompts, at azimuths (B,) in degrees.

    Toward the back the front is avoided most; that is what keeps a second face away. Numbers of the released code.
    """
    turns = _quarter_turns(azimuth)
    before = turns < 1  # between front and side; else between side and back
    front = torch.where(before, _decay(1 - turns, 4.0, -2.426), _decay(2 - turns, 1.0, 0.967))
    side = torch.where(before, _decay(turns, 4.0, -2.426), _decay(2 - turns, 1.0, -0.606))
    return -torch.stack([front, side], dim=1)


def _quarter_turns(azimuth: Tensor) -> Tensor:
    """0 at the front, 1 at either side, 2 at the back."""
    return relative_azimuth(azimuth).abs() / 90


def _decay(share: Tensor, height: float, offset: float) -> Tensor:
    return height * torch.exp(-0.5 * share) + offset
