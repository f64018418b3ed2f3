"""What all score distillation shares: how renders are noised, the weight w(t), and how a gradient becomes a loss.

Renders x, as a prior encodes them, are noised to x_t = sqrt(alphabar_t) x + sqrt(1 - alphabar_t) eps, and given the
gradient

    w(t) (eps_hat - eps_ref),

where eps_hat is a prior's guided prediction of the noise. SDS, VSD and BSD differ in eps_hat and eps_ref alone.
"""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(clean: Tensor, noise: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """x_t = sqrt(alphabar_t) x + sqrt(1 - alphabar_t) eps for (B, C, h, w) and timesteps (B,)."""
    alpha = alphas_cumprod.to(clean)[timesteps][:, None, None, None]
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def weight(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """w(t) = 1 - alphabar_t, (B, 1, 1, 1) for timesteps (B,)."""
    return (1 - alphas_cumprod[timesteps])[:, None, None, None]


def noise_like(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape of ``clean``; drawn on the CPU, so that every device sees the same."""
    return torch.randn(clean.shape, generator=generator).to(clean)


def loss_from_gradient(clean: Tensor, gradient: Tensor) -> Tensor:
    """A scalar whose gradient with respect to ``clean`` (B, C, h, w) is ``gradient`` / B; one that is NaN counts as 0.

    L = |x - stopgrad(x - g)|^2 / 2, summed over a picture, averaged over the batch.
    """
    target = clean.detach() - torch.nan_to_num(gradient.detach())
    return 0.5 * (clean - target).square().sum() / len(clean)
