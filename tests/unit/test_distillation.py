"""Score distillation and sampling against a prior whose best noise prediction is known in closed form."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dreamcraft3d.distillation.hybrid import Hybrid
from dreamcraft3d.distillation.sds import add_noise, distillation_loss, score_gradient
from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.pipeline.stage import joined, opened, random_cameras
from dreamcraft3d.priors.sampling import restore
from dreamcraft3d.render.camera import Cameras

SCHEDULE = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
FRONT = Cameras.at([0.0] * 4)


class GaussianPrior:
    """Pictures x ~ N(mean, deviation^2 I), worked on as they are; E[eps | x_t] is linear in x_t."""

    def __init__(self, mean: Tensor | float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation
        self.alphas_cumprod = SCHEDULE
        self.asked = 0

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures.permute(0, 3, 1, 2)

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        assert len(noisy) == len(timesteps) == len(cameras)
        self.asked += 1
        alpha = self.alphas_cumprod[timesteps][:, None, None, None]
        variance = alpha * self.deviation**2 + 1 - alpha
        return (1 - alpha).sqrt() * (noisy - alpha.sqrt() * self.mean) / variance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(seed: int = 1) -> Tensor:
    return torch.rand(4, 6, 6, 3, generator=seeded(seed)).requires_grad_()


def as_pictures(latents: Tensor) -> Tensor:
    return latents.permute(0, 2, 3, 1)


def test_noise_is_added_by_the_schedule() -> None:
    clean, noise = torch.full((2, 1, 1, 1), 2.0), torch.full((2, 1, 1, 1), -1.0)
    noisy = add_noise(clean, noise, torch.tensor([0.81, 0.36]), torch.tensor([0, 1]))
    torch.testing.assert_close(noisy.flatten(), torch.tensor([0.9 * 2 - 0.19**0.5, 0.6 * 2 - 0.8]))


def test_the_sds_gradient_is_w_times_predicted_less_added_noise() -> None:
    x, timesteps = pictures(), torch.tensor([20, 300, 600, 980])
    prior = GaussianPrior(0.3, 0.2)
    distillation_loss(x, prior, FRONT, timesteps, seeded(5)).backward()
    clean = x.detach().permute(0, 3, 1, 2)
    noise = torch.randn(clean.shape, generator=seeded(5))
    a = SCHEDULE[timesteps][:, None, None, None]
    noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
    predicted = (1 - a).sqrt() * (noisy - a.sqrt() * 0.3) / (a * 0.04 + 1 - a)
    torch.testing.assert_close(x.grad, as_pictures((1 - a) * (predicted - noise)) / 4, atol=1e-5, rtol=0)


def test_the_gradient_passes_through_the_encoder() -> None:
    class Halved(GaussianPrior):
        def encode(self, pictures: Tensor) -> Tensor:
            return pictures.permute(0, 3, 1, 2) / 2

    timesteps = torch.tensor([100, 200, 300, 400])
    half = pictures()
    distillation_loss(half, Halved(0.1, 0.2), FRONT, timesteps, seeded()).backward()
    whole = (pictures().detach() / 2).requires_grad_()
    distillation_loss(whole, GaussianPrior(0.1, 0.2), FRONT, timesteps, seeded()).backward()
    assert whole.grad is not None
    torch.testing.assert_close(half.grad, whole.grad / 2)


def test_sds_descends_to_the_mode() -> None:
    mode = torch.rand(3, 6, 6, generator=seeded(7))
    prior, generator = GaussianPrior(mode, 0.05), seeded()
    x = torch.full((4, 6, 6, 3), 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.02, betas=(0.9, 0.99))
    schedule = Annealed((0.7, 0.85), (0.02, 0.2), 0.8)
    for step in range(300):
        optimizer.zero_grad()
        timesteps = schedule.draw(step / 300, 4, 1000, generator)
        distillation_loss(x, prior, FRONT, timesteps, generator).backward()
        optimizer.step()
    assert (x.mean(dim=0) - mode.permute(1, 2, 0)).abs().mean() < 0.05


def test_a_prediction_that_is_no_number_moves_nothing() -> None:
    x = pictures()
    distillation_loss(x, GaussianPrior(float("nan"), 0.2), FRONT, torch.tensor([500] * 4), seeded()).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_vsd_stands_still_where_the_renders_model_is_the_prior() -> None:
    x, prior = pictures(), GaussianPrior(0.3, 0.2)
    distillation_loss(x, prior, FRONT, torch.tensor([100, 400, 700, 950]), seeded(), reference=prior).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_vsd_pulls_the_renders_mean_to_the_priors_without_noise() -> None:
    clean = torch.full((4, 3, 6, 6), 0.8)
    timesteps = torch.tensor([100, 400, 700, 950])
    noise = torch.randn(clean.shape, generator=seeded())
    found = score_gradient(clean, GaussianPrior(0.3, 0.2), FRONT, timesteps, noise, GaussianPrior(0.8, 0.2))
    a = SCHEDULE[timesteps][:, None, None, None]
    expected = (1 - a) * (a * (1 - a)).sqrt() * (0.8 - 0.3) / (a * 0.04 + 1 - a)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_hybrid_weighs_the_view_prior_by_mu() -> None:
    timesteps = torch.tensor([100, 300, 500, 700])
    flat, view = GaussianPrior(0.1, 0.2), GaussianPrior(0.9, 0.2)
    slopes = {}
    for mu in (0.0, 1.0, 2.0):
        x = pictures()
        Hybrid(flat, view, mu).loss(x, FRONT, timesteps, seeded()).backward()
        assert x.grad is not None
        slopes[mu] = x.grad
    assert view.asked == 2
    alone = pictures()
    distillation_loss(alone, flat, FRONT, timesteps, seeded()).backward()
    torch.testing.assert_close(slopes[0.0], alone.grad)
    torch.testing.assert_close(slopes[2.0] - slopes[0.0], 2 * (slopes[1.0] - slopes[0.0]))


def test_the_two_priors_of_a_hybrid_see_different_noise() -> None:
    x, timesteps, prior = pictures(), torch.tensor([500] * 4), GaussianPrior(0.1, 0.2)
    Hybrid(prior, prior, 1.0).loss(x, FRONT, timesteps, seeded()).backward()
    twice = pictures()
    (2 * distillation_loss(twice, prior, FRONT, timesteps, seeded())).backward()
    assert x.grad is not None
    assert not torch.allclose(x.grad, twice.grad)


def test_timesteps_move_from_their_start_to_their_end() -> None:
    schedule = Annealed((0.7, 0.85), (0.2, 0.5), 0.5)
    assert schedule.range(0.0) == (0.7, 0.85)
    assert schedule.range(0.25) == pytest.approx((0.45, 0.675))
    assert schedule.range(0.5) == pytest.approx((0.2, 0.5))
    assert schedule.range(1.0) == pytest.approx((0.2, 0.5))
    assert Annealed((0.7, 0.85), (0.2, 0.5), 0.0).range(0.0) == pytest.approx((0.2, 0.5))


def test_drawn_timesteps_fill_the_range_and_stay_in_the_schedule() -> None:
    schedule = Annealed((0.7, 0.85), (0.02, 1.0), 1.0)
    first, last = (schedule.draw(progress, 20_000, 1000, seeded()) for progress in (0.0, 1.0))
    assert (first.min(), first.max()) == (700, 850)
    assert (last.min(), last.max()) == (20, 999)
    assert first.dtype == torch.int64
    assert schedule.draw(0.0, 5, 1000, seeded()).equal(schedule.draw(0.0, 5, 1000, seeded()))


def test_views_open_from_the_reference_to_all_around() -> None:
    assert [opened(p, 0.2) for p in (0.0, 0.1, 0.2, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert opened(0.0, 0.0) == 1.0
    closed, half, whole = (random_cameras(5000, r, seeded()) for r in (0.0, 0.5, 1.0))
    assert closed.azimuth.abs().max() == closed.elevation.abs().max() == 0
    torch.testing.assert_close(half.azimuth, whole.azimuth / 2)
    for cameras, r in ((half, 0.5), (whole, 1.0)):
        assert cameras.azimuth.min().item() == pytest.approx(-180 * r, abs=1)
        assert cameras.azimuth.max().item() == pytest.approx(180 * r, abs=1)
        assert cameras.elevation.min().item() == pytest.approx(-10 * r, abs=0.5)
        assert cameras.elevation.max().item() == pytest.approx(45 * r, abs=0.5)


def test_half_of_the_elevations_are_uniform_and_half_uniform_in_their_sine() -> None:
    elevation = torch.deg2rad(random_cameras(200_000, 1.0, seeded()).elevation).sin()
    low, high = torch.deg2rad(torch.tensor([-10.0, 45.0])).tolist()
    even = (torch.tensor(low).cos() - torch.tensor(high).cos()) / (high - low)  # mean sine of a uniform elevation
    by_sine = (torch.tensor(low).sin() + torch.tensor(high).sin()) / 2
    assert elevation.mean().item() == pytest.approx(((even + by_sine) / 2).item(), abs=0.002)


def test_joined_cameras_keep_their_order() -> None:
    both = joined(Cameras.at(0.0), Cameras.at([10.0, 20.0], 5.0))
    assert both.azimuth.tolist() == [0, 10, 20]
    assert both.elevation.tolist() == [0, 5, 5]


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
    noisy = add_noise(clean, torch.randn(clean.shape, generator=seeded(1)), SCHEDULE, torch.tensor([level] * 4))
    restored = restore(GaussianPrior(0.3, 0.5), noisy, FRONT, start=start, steps=100)
    a = SCHEDULE[level]
    exact = 0.3 + 0.5 * (noisy - a.sqrt() * 0.3) / (a * 0.25 + 1 - a).sqrt()
    assert (restored - exact).square().mean().sqrt() < 0.03


def test_the_less_noise_the_more_of_the_picture_is_kept() -> None:
    clean = 0.3 + 0.5 * torch.randn(4, 3, 32, 32, generator=seeded())
    kept = []
    for start in (0.8, 0.5, 0.2):
        timesteps = torch.tensor([int(start * 1000) - 1] * 4)
        noisy = add_noise(clean, torch.randn(clean.shape, generator=seeded(1)), SCHEDULE, timesteps)
        restored = restore(GaussianPrior(0.3, 0.5), noisy, FRONT, start=start)
        kept.append((restored - clean).square().mean().item())
    assert kept[0] > 1.2 * kept[1] > 2 * kept[2]


def test_a_quarter_of_the_schedule_takes_a_quarter_of_the_steps() -> None:
    prior = GaussianPrior(0.3, 0.5)
    restore(prior, torch.zeros(4, 3, 4, 4), FRONT, start=0.25, steps=40)
    assert prior.asked == 10
