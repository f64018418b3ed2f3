"""Priors whose best noise prediction is known exactly: the distillation can be held to the mathematics with them.

If pictures x have the density p, then x_t = sqrt(a) x + sqrt(1 - a) eps, a = alphabar_t, has a density p_t, and the
prediction with the least squared error is (Tweedie's formula)

    E[eps | x_t] = -sqrt(1 - a) grad log p_t(x_t).

Where p is a mixture of Gaussians, so is p_t. Pictures are worked on as they are, channels first; C, h, w below are their
sizes. All priors here satisfy ``priors/base.py: Guidance``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.render.camera import Cameras

ALPHAS_CUMPROD: Tensor = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
"""(1000,) the schedule of Stable Diffusion and of Zero-1-to-3."""


EVERYWHERE = Annealed((0.02, 0.98), (0.02, 0.98), 1.0)
"""Nearly all noise levels, from the first step to the last."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_latents(pictures: Tensor) -> Tensor:
    """(B, H, W, C) to (B, C, H, W)."""
    return pictures.permute(0, 3, 1, 2)


def as_pictures(latents: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C)."""
    return latents.permute(0, 2, 3, 1)


def gaussian_noise(noisy: Tensor, alpha: Tensor, mean: Tensor | float, deviation: Tensor | float) -> Tensor:
    """E[eps | x_t] for x ~ N(m, s^2): sqrt(1 - a) (x_t - sqrt(a) m) / (a s^2 + 1 - a); all shapes broadcast."""
    return (1 - alpha).sqrt() * (noisy - alpha.sqrt() * mean) / (alpha * deviation**2 + 1 - alpha)


class _Prior:
    """What all of them share: a schedule, pictures as they are, and a count of how often they were asked."""

    def __init__(self) -> None:
        self.alphas_cumprod = ALPHAS_CUMPROD
        self.asked = 0

    def encode(self, pictures: Tensor) -> Tensor:
        return as_latents(pictures)

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        assert len(noisy) == len(timesteps) == len(cameras)
        self.asked += 1
        return self.expected(noisy, self.alphas_cumprod[timesteps][:, None, None, None], cameras)

    def expected(self, noisy: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
        """E[eps | x_t] for x_t (B, C, h, w), alphabar_t (B, 1, 1, 1) and B cameras."""
        raise NotImplementedError


class GaussianPrior(_Prior):
    """x ~ N(m, diag(s^2)), whatever the camera.

    Args:
        mean, deviation: m and s, numbers or anything that broadcasts to (B, C, h, w).
    """

    def __init__(self, mean: Tensor | float, deviation: Tensor | float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    @classmethod
    def of(cls, pictures: Tensor) -> GaussianPrior:
        """The Gaussian with the mean and variance of pictures (B, H, W, C), each number of a picture by itself.

        It is the model of the present renders that VSD asks for, and BSD's DreamBooth, trained to the end at once.
        """
        latents = as_latents(pictures.detach())
        return cls(latents.mean(dim=0), latents.std(dim=0, unbiased=False))

    def expected(self, noisy: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
        return gaussian_noise(noisy, alpha, self.mean, self.deviation)


class ViewGaussianPrior(_Prior):
    """x ~ N(m(c), s^2 I) seen by a camera c: a prior that knows one object from all sides.

    Args:
        mean: B cameras to the pictures (B, H, W, C) it expects of them.
    """

    def __init__(self, mean: Callable[[Cameras], Tensor], deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def expected(self, noisy: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
        return gaussian_noise(noisy, alpha, as_latents(self.mean(cameras)), self.deviation)


class ViewMixturePrior(_Prior):
    """x ~ sum_k p_k(c) N(m_k, s^2 I) seen by a camera c: K looks, of which views may prefer different ones.

    The prediction is sum_k r_k eps_k, with eps_k that of the k-th Gaussian and the exact posterior responsibilities

        r_k = p_k(c) N(x_t; sqrt(a) m_k, (a s^2 + 1 - a) I) / sum_j p_j(c) N(x_t; sqrt(a) m_j, (a s^2 + 1 - a) I).

    Args:
        means: (K, C, h, w).
        shares: B cameras to the p_k, (B, K), which sum to 1.
    """

    def __init__(self, means: Tensor, deviation: float, shares: Callable[[Cameras], Tensor]) -> None:
        super().__init__()
        self.means, self.deviation, self.shares = means, deviation, shares

    def expected(self, noisy: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
        x, a = noisy[:, None], alpha[:, None]
        distance = (x - a.sqrt() * self.means).square().sum(dim=(2, 3, 4))
        variance = (a * self.deviation**2 + 1 - a)[:, :, 0, 0, 0]
        responsibility = (self.shares(cameras).log() - distance / (2 * variance)).softmax(dim=1)
        return (responsibility[:, :, None, None, None] * gaussian_noise(x, a, self.means, self.deviation)).sum(dim=1)


class MixturePrior(ViewMixturePrior):
    """x ~ sum_k p_k N(m_k, s^2 I), whatever the camera; ``shares`` (K,) are the p_k."""

    def __init__(self, means: Tensor, deviation: float, shares: Tensor) -> None:
        super().__init__(means, deviation, lambda cameras: shares.expand(len(cameras), -1))


class LearntGaussian(_Prior):
    """A Gaussian that learns renders as a LoRA does: by the denoising loss, a few steps of Adam at a time.

    Args:
        shape: (C, h, w).
    """

    def __init__(self, shape: tuple[int, int, int], rate: float) -> None:
        super().__init__()
        self.mean, self.log_deviation = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
        self.optimizer = torch.optim.Adam([self.mean, self.log_deviation], lr=rate)

    def expected(self, noisy: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
        return gaussian_noise(noisy, alpha, self.mean, self.log_deviation.exp())

    def learn(self, pictures: Tensor, generator: torch.Generator) -> None:
        """One step on |eps_phi(x_t, t) - eps|^2 for pictures (B, H, W, C), at timesteps and noise drawn anew."""
        clean = as_latents(pictures.detach())
        alpha = self.alphas_cumprod[torch.randint(0, 1000, (len(clean),), generator=generator)][:, None, None, None]
        noise = torch.randn(clean.shape, generator=generator)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        self.optimizer.zero_grad()
        (self.expected(noisy, alpha, Cameras.ring(len(clean))) - noise).square().mean().backward()
        self.optimizer.step()


def descend(
    parameters: list[Tensor],
    loss: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    rate: float = 0.03,
    timesteps: Annealed = EVERYWHERE,
) -> None:
    """Follow a loss of timesteps (batch,), the rate falling to a tenth."""
    generator = seeded(11)
    optimizer = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    for step in range(steps):
        optimizer.zero_grad()
        loss(timesteps.draw(step / steps, batch, 1000, generator)).backward()
        optimizer.step()
        falling.step()
