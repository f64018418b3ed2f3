"""Score distillation sampling and its two relatives.

All of them give the rendered picture x the gradient

    w(t) (eps_hat - eps_ref),   w(t) = 1 - alphabar_t,

where eps_hat is the prior's guided prediction for x_t = sqrt(alphabar_t) x + sqrt(1 - alphabar_t) eps. They differ in
eps_ref: SDS (Poole et al., ICLR 2023) takes the noise eps that was added; VSD (Wang et al., NeurIPS 2023) takes the
prediction of a model of the present renders. BSD (DreamCraft3D) is VSD whose prior is itself trained on restored renders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


def add_noise(clean: Tensor, noise: Tensor, alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """x_t = sqrt(alphabar_t) x + sqrt(1 - alphabar_t) eps for (B, C, h, w) and timesteps (B,)."""
    alpha = alphas_cumprod.to(clean)[timesteps][:, None, None, None]
    return alpha.sqrt() * clean + (1 - alpha).sqrt() * noise


def score_gradient(
    clean: Tensor,
    guidance: Guidance,
    cameras: Cameras,
    timesteps: Tensor,
    noise: Tensor,
    reference: Guidance | None = None,
) -> Tensor:
    """w(t) (eps_hat - eps_ref) at encoded renders (B, C, h, w); no gradient flows through it.

    Args:
        reference: the model of the present renders, for VSD and BSD; None is SDS.
    """
    with torch.no_grad():
        noisy = add_noise(clean, noise, guidance.alphas_cumprod, timesteps)
        predicted = guidance.predict_noise(noisy, timesteps, cameras)
        baseline = noise if reference is None else reference.predict_noise(noisy, timesteps, cameras)
        weight = (1 - guidance.alphas_cumprod.to(clean)[timesteps])[:, None, None, None]
        return torch.nan_to_num(weight * (predicted - baseline))


def distillation_loss(
    pictures: Tensor,
    guidance: Guidance,
    cameras: Cameras,
    timesteps: Tensor,
    generator: torch.Generator,
    reference: Guidance | None = None,
) -> Tensor:
    """A scalar whose gradient with respect to the encoded pictures is ``score_gradient`` / B.

    L = |x - stopgrad(x - g)|^2 / 2, summed over a picture, averaged over the batch.

    Args:
        pictures: (B, H, W, 3) renders in [0, 1], differentiable.
        timesteps: (B,) int64.
        generator: draws the noise.
    """
    clean = guidance.encode(pictures)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    gradient = score_gradient(clean.detach(), guidance, cameras, timesteps.to(clean.device), noise, reference)
    return 0.5 * (clean - (clean.detach() - gradient)).square().sum() / len(clean)
