"""Score distillation against priors whose best noise prediction is known exactly (``tests/closed_form.py``).

Every claim has been seen to fail. What was broken, and which claims (their names shortened) failed:

- ``score.py``, alphabar for its root before x: noise is added, sds gradient, sds finds (both), sds collapse, vsd gradient,
  hybrid settles, 3d sds.
- ``score.py``, w = alphabar: sds gradient, vsd gradient, vsd pulls, sds collapse.
- ``score.py``, the loss's sign: all of SDS, VSD, hybrid and 3D-SDS, but for those in which nothing moves.
- ``score.py``, the sum over a batch for its mean: sds gradient, vsd gradient, hybrid gradient.
- ``score.py``, NaN let through: no number.
- ``sds.py``, added less predicted noise: sds gradient, sds finds, sds collapse, 3d sds.
- ``sds.py``, no w: sds gradient.
- ``sds.py``, no added noise taken off: sds gradient, sds collapse, hybrid settles.
- ``sds.py``, cameras in reverse order: 3d sds.
- ``sds.py``, the encoder passed by: passes through the encoder.
- ``vsd.py``, the renders' less the prior's prediction: vsd gradient, vsd pulls, vsd particles.
- ``vsd.py``, no w: vsd gradient, vsd pulls.
- ``vsd.py``, the added noise for the renders' model: vsd gradient, vsd pulls, vsd stands still, vsd particles.
- ``hybrid.py``, no mu, or less for plus: hybrid gradient, hybrid settles.
- ``hybrid.py``, mu = 0 not seen: does not ask.
- ``hybrid.py``, one noise for both priors: hybrid gradient, different noise.
- ``timesteps.py``, start and end of the lower bound exchanged, or annealed past ``until``: timesteps move, annealing visits.
- ``timesteps.py``, bounds cut instead of rounded, or the highest left out: annealing visits.
- ``timesteps.py``, no clamp: past the schedule. No generator: follow their generator.
- ``stage.py``, views opened past 1, or azimuths not narrowed: views open.
- ``closed_form.py``, shares left out, the variance halved, or alphabar left out of it: exact prediction.
"""

from __future__ import annotations

import pytest
import torch
import trimesh
from closed_form import (
    ALPHAS_CUMPROD,
    GaussianPrior,
    LearntGaussian,
    MixturePrior,
    ViewGaussianPrior,
    as_latents,
    as_pictures,
    descend,
    seeded,
)
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from dreamcraft3d.distillation.hybrid import Hybrid
from dreamcraft3d.distillation.score import add_noise
from dreamcraft3d.distillation.sds import sds_gradient, sds_loss
from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.distillation.vsd import vsd_gradient, vsd_loss
from dreamcraft3d.pipeline.stage import opened, random_cameras
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.colour import Albedo, DenseColour
from dreamcraft3d.shape.mesh import Mesh

FRONT = Cameras.at([0.0] * 4)
TIMESTEPS = torch.tensor([20, 300, 600, 980])
ALPHA = ALPHAS_CUMPROD[TIMESTEPS][:, None, None, None]
PARTICLES = Cameras.at([0.0] * 64)


def pictures(seed: int = 1) -> Tensor:
    return torch.rand(4, 6, 6, 3, generator=seeded(seed)).requires_grad_()


def noise_of(seed: int) -> Tensor:
    """What a loss given this seed's generator draws for ``pictures()``."""
    return torch.randn(4, 3, 6, 6, generator=seeded(seed))


# The priors themselves


LOOKS = torch.randn(3, 3, 6, 6, generator=seeded(3))
SHARES = torch.tensor([0.2, 0.3, 0.5])


def noised_density(means: Tensor, deviation: float, shares: Tensor, alpha: Tensor) -> MixtureSameFamily:
    """p_t for p = sum_k shares_k N(means_k, deviation^2 I), by torch's own distributions."""
    scale = (alpha * deviation**2 + 1 - alpha).sqrt().expand_as(means)
    return MixtureSameFamily(Categorical(shares), Independent(Normal(alpha.sqrt() * means, scale), 3))


@pytest.mark.parametrize(
    ("prior", "means", "shares"),
    [
        (GaussianPrior(LOOKS[0], 0.2), LOOKS[:1], SHARES[:1]),
        (
            ViewGaussianPrior(lambda cameras: as_pictures(LOOKS[:1]).expand(len(cameras), -1, -1, -1), 0.2),
            LOOKS[:1],
            SHARES[:1],
        ),
        (MixturePrior(LOOKS, 0.2, SHARES), LOOKS, SHARES),
    ],
    ids=["gaussian", "view gaussian", "mixture"],
)
def test_an_exact_prediction_is_the_score_of_the_noised_density(prior: Guidance, means: Tensor, shares: Tensor) -> None:
    for t in TIMESTEPS:
        alpha = ALPHAS_CUMPROD[t]
        # between the looks, where no one of them answers for all
        middle = alpha.sqrt() * LOOKS.mean(dim=0) + 0.1 * torch.randn(4, 3, 6, 6, generator=seeded(4))
        x = middle.clone().requires_grad_()
        (score,) = torch.autograd.grad(noised_density(means, 0.2, shares, alpha).log_prob(x).sum(), x)
        found = prior.predict_noise(middle, t.expand(4), FRONT)
        torch.testing.assert_close(found, -(1 - alpha).sqrt() * score, atol=1e-5, rtol=1e-4)


# SDS


def test_noise_is_added_by_the_schedule() -> None:
    clean, noise = torch.full((2, 1, 1, 1), 2.0), torch.full((2, 1, 1, 1), -1.0)
    noisy = add_noise(clean, noise, torch.tensor([0.81, 0.36]), torch.tensor([0, 1]))
    torch.testing.assert_close(noisy.flatten(), torch.tensor([0.9 * 2 - 0.19**0.5, 0.6 * 2 - 0.8]))


def test_the_sds_gradient_is_w_times_predicted_less_added_noise() -> None:
    x = pictures()
    sds_loss(x, GaussianPrior(0.3, 0.2), FRONT, TIMESTEPS, seeded(5)).backward()
    clean, noise = as_latents(x.detach()), noise_of(5)
    noisy = ALPHA.sqrt() * clean + (1 - ALPHA).sqrt() * noise
    predicted = (1 - ALPHA).sqrt() * (noisy - ALPHA.sqrt() * 0.3) / (ALPHA * 0.04 + 1 - ALPHA)
    torch.testing.assert_close(x.grad, as_pictures((1 - ALPHA) * (predicted - noise)) / 4, atol=1e-5, rtol=0)


def test_the_gradient_passes_through_the_encoder() -> None:
    class Halved(GaussianPrior):
        def encode(self, pictures: Tensor) -> Tensor:
            return as_latents(pictures) / 2

    half = pictures()
    sds_loss(half, Halved(0.1, 0.2), FRONT, TIMESTEPS, seeded()).backward()
    whole = (pictures().detach() / 2).requires_grad_()
    sds_loss(whole, GaussianPrior(0.1, 0.2), FRONT, TIMESTEPS, seeded()).backward()
    assert whole.grad is not None
    torch.testing.assert_close(half.grad, whole.grad / 2)


def test_a_prediction_that_is_no_number_moves_nothing() -> None:
    x = pictures()
    sds_loss(x, GaussianPrior(float("nan"), 0.2), FRONT, TIMESTEPS, seeded()).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_sds_finds_the_mode() -> None:
    prior, x, generator = GaussianPrior(LOOKS[0], 0.05), torch.full((4, 6, 6, 3), 0.5, requires_grad=True), seeded()
    falling = Annealed((0.7, 0.85), (0.02, 0.2), 0.8)
    descend([x], lambda t: sds_loss(x, prior, FRONT, t, generator), 300, 4, timesteps=falling)
    assert (as_latents(x) - LOOKS[0]).abs().mean() < 0.02


def test_sds_finds_one_mode_of_several_and_not_the_middle() -> None:
    prior, generator = MixturePrior(LOOKS, 0.05, SHARES), seeded()
    x = as_pictures(LOOKS.mean(dim=0) + 0.5 * torch.randn(4, 3, 6, 6, generator=seeded(8))).requires_grad_()
    falling = Annealed((0.5, 0.7), (0.02, 0.2), 0.8)
    descend([x], lambda t: sds_loss(x, prior, FRONT, t, generator), 300, 4, timesteps=falling)
    to_each = (as_latents(x)[:, None] - LOOKS).abs().mean(dim=(2, 3, 4))
    assert (to_each.amin(dim=1) < 0.02).all()


# VSD


def test_the_vsd_gradient_is_w_times_predicted_noise_less_the_renders_models() -> None:
    x = pictures()
    vsd_loss(x, GaussianPrior(0.3, 0.2), GaussianPrior(0.8, 0.4), FRONT, TIMESTEPS, seeded(5)).backward()
    noisy = ALPHA.sqrt() * as_latents(x.detach()) + (1 - ALPHA).sqrt() * noise_of(5)
    predicted = (1 - ALPHA).sqrt() * (noisy - ALPHA.sqrt() * 0.3) / (ALPHA * 0.04 + 1 - ALPHA)
    of_renders = (1 - ALPHA).sqrt() * (noisy - ALPHA.sqrt() * 0.8) / (ALPHA * 0.16 + 1 - ALPHA)
    torch.testing.assert_close(x.grad, as_pictures((1 - ALPHA) * (predicted - of_renders)) / 4, atol=1e-5, rtol=0)


def test_vsd_pulls_the_renders_mean_to_the_priors_without_noise() -> None:
    clean, prior, renders = torch.full((4, 3, 6, 6), 0.8), GaussianPrior(0.3, 0.2), GaussianPrior(0.8, 0.2)
    found = vsd_gradient(clean, prior, renders, FRONT, TIMESTEPS, noise_of(0))
    expected = (1 - ALPHA) * (ALPHA * (1 - ALPHA)).sqrt() * (0.8 - 0.3) / (ALPHA * 0.04 + 1 - ALPHA)
    torch.testing.assert_close(found, expected.expand_as(found))


def test_vsd_stands_still_where_the_renders_model_is_the_prior() -> None:
    x, prior = pictures(), GaussianPrior(0.3, 0.2)
    vsd_loss(x, prior, prior, FRONT, TIMESTEPS, seeded()).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


MEAN = torch.rand(3, 2, 2, generator=seeded(6))
DEVIATION = 0.3 + 0.5 * torch.rand(3, 2, 2, generator=seeded(7))


def particles() -> Tensor:
    """64 pictures, nearly alike, far from the mean."""
    return (-0.5 + 0.05 * torch.randn(64, 2, 2, 3, generator=seeded(9))).requires_grad_()


def test_vsd_particles_take_the_priors_mean_and_variance() -> None:
    prior, x, generator = GaussianPrior(MEAN, DEVIATION), particles(), seeded()
    descend([x], lambda t: vsd_loss(x, prior, GaussianPrior.of(x), PARTICLES, t, generator), 600, 64)
    torch.testing.assert_close(as_latents(x).mean(dim=0), MEAN, atol=1e-3, rtol=0)
    torch.testing.assert_close(as_latents(x).std(dim=0), DEVIATION, atol=0, rtol=0.02)


def test_vsd_particles_do_so_too_with_a_renders_model_that_learns() -> None:
    prior, x, generator = GaussianPrior(MEAN, DEVIATION), particles(), seeded()
    lora = LearntGaussian((3, 2, 2), rate=0.03)

    def loss(timesteps: Tensor) -> Tensor:
        lora.learn(x, generator)
        return vsd_loss(x, prior, lora, PARTICLES, timesteps, generator)

    descend([x], loss, 1200, 64, rate=0.01)
    torch.testing.assert_close(as_latents(x).mean(dim=0), MEAN, atol=0.1, rtol=0)
    torch.testing.assert_close(as_latents(x).std(dim=0), DEVIATION, atol=0, rtol=0.1)


def test_sds_particles_collapse_to_the_mode() -> None:
    prior, x, generator = GaussianPrior(MEAN, DEVIATION), particles(), seeded()
    descend([x], lambda t: sds_loss(x, prior, PARTICLES, t, generator), 300, 64)
    torch.testing.assert_close(as_latents(x).mean(dim=0), MEAN, atol=0.05, rtol=0)
    assert (as_latents(x).std(dim=0) < 0.3 * DEVIATION).all()


# Hybrid, and 3D-SDS


@pytest.mark.parametrize("mu", [0.0, 0.5, 2.0])
def test_the_hybrid_gradient_is_sds_plus_mu_times_3d_sds(mu: float) -> None:
    x, flat, view = pictures(), GaussianPrior(0.1, 0.2), GaussianPrior(0.9, 0.3)
    Hybrid(flat, view, mu).loss(x, FRONT, TIMESTEPS, seeded(5)).backward()
    generator = seeded(5)
    noises = [torch.randn(4, 3, 6, 6, generator=generator) for _ in range(2)]
    terms = [
        sds_gradient(as_latents(x.detach()), prior, FRONT, TIMESTEPS, noise)
        for prior, noise in zip((flat, view), noises, strict=True)
    ]
    torch.testing.assert_close(x.grad, as_pictures(terms[0] + mu * terms[1]) / 4, atol=1e-5, rtol=0)


def test_a_hybrid_of_mu_nought_does_not_ask_the_view_prior() -> None:
    view = GaussianPrior(0.9, 0.2)
    Hybrid(GaussianPrior(0.1, 0.2), view, 0.0).loss(pictures(), FRONT, TIMESTEPS, seeded())
    assert view.asked == 0


def test_the_two_priors_of_a_hybrid_see_different_noise() -> None:
    x, timesteps, prior = pictures(), TIMESTEPS, GaussianPrior(0.1, 0.2)
    Hybrid(prior, prior, 1.0).loss(x, FRONT, timesteps, seeded()).backward()
    twice = pictures()
    (2 * sds_loss(twice, prior, FRONT, timesteps, seeded())).backward()
    assert x.grad is not None
    assert not torch.allclose(x.grad, twice.grad)


@pytest.mark.parametrize("mu", [0.5, 2.0])
def test_a_hybrid_settles_between_its_priors_as_mu_says(mu: float) -> None:
    hybrid, x, generator = Hybrid(GaussianPrior(0.0, 0.1), GaussianPrior(1.0, 0.1), mu), particles(), seeded()
    descend([x], lambda t: hybrid.loss(x, PARTICLES, t, generator), 300, 64)
    assert x.mean().item() == pytest.approx(mu / (1 + mu), abs=0.02)


def ball() -> Mesh:
    sphere = trimesh.creation.icosphere(2, 0.5)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces))


def striped(points: Tensor) -> Tensor:
    """A colour for every direction: no two sides of the ball look alike."""
    return 0.5 + 0.35 * torch.sin(points @ torch.tensor([[5.0, 0.0, 2.0], [0.0, 5.0, 3.0], [2.0, 4.0, 0.0]]))


def test_3d_sds_recovers_a_known_object_from_its_views() -> None:
    mesh, colour, generator = ball(), DenseColour(10, 0.6), seeded()

    def rendered(cameras: Cameras, albedo: Albedo) -> Tensor:
        return render_mesh(mesh, cameras, 24, albedo=albedo).rgb

    prior = ViewGaussianPrior(lambda cameras: rendered(cameras, striped), 0.05)

    def loss(timesteps: Tensor) -> Tensor:
        cameras = random_cameras(4, 1.0, generator)
        return sds_loss(rendered(cameras, colour), prior, cameras, timesteps, generator)

    unseen = random_cameras(8, 1.0, seeded(99))

    def error() -> float:
        with torch.no_grad():
            return (rendered(unseen, colour) - rendered(unseen, striped)).abs().mean().item()

    before = error()
    descend(list(colour.parameters()), loss, 60, 4, rate=0.3, timesteps=Annealed((0.7, 0.85), (0.2, 0.5), 0.3))
    assert before > 0.04
    assert error() < before / 20


# Schedules


def test_timesteps_move_from_their_start_to_their_end() -> None:
    schedule = Annealed((0.7, 0.85), (0.2, 0.5), 0.5)
    assert schedule.range(0.0) == (0.7, 0.85)
    assert schedule.range(0.25) == pytest.approx((0.45, 0.675))
    assert schedule.range(0.5) == pytest.approx((0.2, 0.5))
    assert schedule.range(1.0) == pytest.approx((0.2, 0.5))
    assert Annealed((0.7, 0.85), (0.2, 0.5), 0.0).range(0.0) == pytest.approx((0.2, 0.5))


@pytest.mark.parametrize(
    ("progress", "lowest", "highest"), [(0.0, 700, 850), (0.25, 450, 675), (0.5, 200, 500), (1.0, 200, 500)]
)
def test_annealing_visits_every_timestep_it_says_and_no_other(progress: float, lowest: int, highest: int) -> None:
    drawn = Annealed((0.7, 0.85), (0.2, 0.5), 0.5).draw(progress, 20_000, 1000, seeded())
    assert drawn.dtype == torch.int64
    assert sorted(set(drawn.tolist())) == list(range(lowest, highest + 1))


def test_no_timestep_lies_past_the_schedule() -> None:
    assert Annealed((0.9, 1.0), (0.9, 1.0), 1.0).draw(0.0, 20_000, 1000, seeded()).max() == 999


def test_timesteps_follow_their_generator() -> None:
    schedule = Annealed((0.7, 0.85), (0.2, 0.5), 1.0)
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
