"""Score distillation sampling (Poole et al., "DreamFusion", ICLR 2023): renders descend to a mode of the prior."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.distillation.score import add_noise, loss_from_gradient, noise_like, weight
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


@torch.no_grad()
def sds_gradient(clean: Tensor, prior: Guidance, cameras: Cameras, timesteps: Tensor, noise: Tensor) -> Tensor:
    """w(t) (eps_hat(x_t; y, t, c) - eps) at encoded renders (B, C, h, w) and the noise added to them."""
    noisy = add_noise(clean, noise, prior.alphas_cumprod, timesteps)
    predicted = prior.predict_noise(noisy, timesteps, cameras)
    return weight(prior.alphas_cumprod.to(clean), timesteps) * (predicted - noise)


def sds_loss(
    pictures: Tensor, prior: Guidance, cameras: Cameras, timesteps: Tensor, generator: torch.Generator
) -> Tensor:
    """A scalar whose gradient with respect to the encoded pictures is :func:`sds_gradient` / B.

    With a prior on the reference picture, which follows the camera, this is the paper's 3D-SDS.

    Args:
        pictures: (B, H, W, 3) renders in [0, 1], differentiable.
        cameras: B cameras that the renders are seen by.
        timesteps: (B,) int64.
        generator: draws the noise.
    """
    clean = prior.encode(pictures)
    noise = noise_like(clean, generator)
    return loss_from_gradient(clean, sds_gradient(clean, prior, cameras, timesteps.to(clean.device), noise))
