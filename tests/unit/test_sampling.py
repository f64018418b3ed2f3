"""Sampling by DDIM against a prior whose best noise prediction is known in closed form."""

from __future__ import annotations

import pytest
import torch
from closed_form import ALPHAS_CUMPROD, GaussianPrior, seeded

from dreamcraft3d.distillation.score import add_noise
from dreamcraft3d.priors.sampling import restore
from dreamcraft3d.render.camera import Cameras

FRONT = Cameras.at([0.0] * 4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_have_the_priors_mean_and_deviation(eta: float) -> None:
    noise = torch.randn(4, 3, 32, 32, generator=seeded())
    samples = restore(GaussianPrior(0.3, 0.5), noise, FRONT, steps=50, generator=seeded(1), eta=eta)
    assert samples.mean().item() == pytest.approx(0.3, abs=0.02)
    assert samples.std().item() == pytest.approx(0.5, rel=0.12)


def test_more_steps_come_closer_to_the_exact_sample() -> None:
    """Without noise on the way, x_T maps to mean + deviation x_T for a Gaussian prior."""
    noise = torch.randn(4, 3, 16, 16, generator=seeded())
    exact = 0.3 + 0.5 * noise
    errors = [
        (restore(GaussianPrior(0.3, 0.5), noise, FRONT, steps=steps) - exact).square().mean().sqrt().item()
        for steps in (10, 40, 200)
    ]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]


@pytest.mark.parametrize("start", [0.9, 0.4])
def test_restoring_takes_off_the_noise_it_was_told_of(start: float) -> None:
    level = int(start * 1000) - 1
    clean = 0.3 + 0.5 * torch.randn(4, 3, 32, 32, generator=seeded())
    noisy = add_noise(clean, torch.randn(clean.shape, generator=seeded(1)), ALPHAS_CUMPROD, torch.tensor([level] * 4))
    restored = restore(GaussianPrior(0.3, 0.5), noisy, FRONT, start=start, steps=100)
    a = ALPHAS_CUMPROD[level]
    exact = 0.3 + 0.5 * (noisy - a.sqrt() * 0.3) / (a * 0.25 + 1 - a).sqrt()
    assert (restored - exact).square().mean().sqrt() < 0.03


def test_the_less_noise_the_more_of_the_picture_is_kept() -> None:
    clean = 0.3 + 0.5 * torch.randn(4, 3, 32, 32, generator=seeded())
    kept = []
    for start in (0.8, 0.5, 0.2):
        timesteps = torch.tensor([int(start * 1000) - 1] * 4)
        noisy = add_noise(clean, torch.randn(clean.shape, generator=seeded(1)), ALPHAS_CUMPROD, timesteps)
        restored = restore(GaussianPrior(0.3, 0.5), noisy, FRONT, start=start)
        kept.append((restored - clean).square().mean().item())
    assert kept[0] > 1.2 * kept[1] > 2 * kept[2]


def test_a_quarter_of_the_schedule_takes_a_quarter_of_the_steps() -> None:
    prior = GaussianPrior(0.3, 0.5)
    restore(prior, torch.zeros(4, 3, 4, 4), FRONT, start=0.25, steps=40)
    assert prior.asked == 10
