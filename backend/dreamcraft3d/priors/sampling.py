"""Sampling pictures from a guided prior."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


def noised(
    guidance: Guidance, latents: Tensor, level: float, generator: torch.Generator, alike: bool = False
) -> Tensor:
    """x_t of latents (B, C, h, w) at noise level ``level`` in (0, 1], where :func:`restore` can start.

    Args:
        alike: the same noise for all of them, which makes details alike.
    """
    noise = torch.randn(1 if alike else len(latents), *latents.shape[1:], generator=generator).to(latents)
    alpha = guidance.alphas_cumprod[int(level * len(guidance.alphas_cumprod)) - 1]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


@torch.no_grad()
def restore(
    guidance: Guidance,
    noisy: Tensor,
    cameras: Cameras,
    start: float = 1.0,
    steps: int = 25,
    generator: torch.Generator | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Latents (B, C, h, w) from noisy ones at noise level ``start`` in (0, 1], by DDIM (Song et al., ICLR 2021).

    Args:
        noisy: x_t at t = start * T; pure noise for start = 1.
        cameras: where each picture is seen from.
        steps: of the whole schedule; a start of 0.3 takes 3 in 10 of them (exactly at its noise where that is whole).
        eta: 0 is deterministic, 1 is ancestral sampling, which needs ``generator``.
    """
    alphas = guidance.alphas_cumprod.cpu()
    betas = 1 - alphas / torch.cat([torch.ones(1), alphas[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=len(alphas),
        trained_betas=betas.numpy(),
        prediction_type="epsilon",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    latents = noisy
    for timestep in scheduler.timesteps[scheduler.timesteps < start * len(alphas)]:
        noise = guidance.predict_noise(latents, timestep.expand(len(latents)).to(latents.device), cameras)
        latents = scheduler.step(noise, timestep, latents, eta=eta, generator=generator).prev_sample
    return latents
