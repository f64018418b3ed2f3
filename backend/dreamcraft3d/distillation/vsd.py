"""Variational score distillation (Wang et al., "ProlificDreamer", NeurIPS 2023): renders take the prior's distribution.

Where SDS takes off the noise that was added, VSD takes off the noise that a model of the present renders predicts.
Once renders are distributed as the prior has it, the two predictions are one, and nothing moves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.distillation.score import add_noise, loss_from_gradient, noise_like, weight
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


@torch.no_grad()
def vsd_gradient(
    clean: Tensor, prior: Guidance, lora: Guidance, cameras: Cameras, timesteps: Tensor, noise: Tensor
) -> Tensor:
    """w(t) (eps_hat(x_t; y, t, c) - eps_lora(x_t; y, t, c)) at encoded renders (B, C, h, w) and their noise."""
    noisy = add_noise(clean, noise, prior.alphas_cumprod, timesteps)
    predicted = prior.predict_noise(noisy, timesteps, cameras)
    of_renders = lora.predict_noise(noisy, timesteps, cameras)
    return weight(prior.alphas_cumprod.to(clean), timesteps) * (predicted - of_renders)


def vsd_loss(
    pictures: Tensor,
    prior: Guidance,
    lora: Guidance,
    cameras: Cameras,
    timesteps: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """A scalar whose gradient with respect to the encoded pictures is :func:`vsd_gradient` / B.

    Args:
        pictures: (B, H, W, 3) renders in [0, 1], differentiable.
        lora: the model of the present renders, in the prior's space and on its schedule; trained by the caller.
        cameras: B cameras that the renders are seen by.
        timesteps: (B,) int64.
        generator: draws the noise.
    """
    clean = prior.encode(pictures)
    noise = noise_like(clean, generator)
    return loss_from_gradient(clean, vsd_gradient(clean, prior, lora, cameras, timesteps.to(clean.device), noise))
