"""Views one after another give what a batch gives.

Seen to fail when: a view is left out of an answer, losses are summed instead of averaged, the generator of a loss is the
caller's (the second pass draws other noise), encoding is not computed again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import trimesh
from torch import Tensor

from dreamcraft3d.distillation.bsd import bsd_loss
from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.priors.base import Copied, Guidance
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.priors.memory import Means
from dreamcraft3d.priors.one_view import OneView
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.in_turn import in_turn
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.volume import render_volume
from dreamcraft3d.shape.colour import DenseColour
from dreamcraft3d.shape.field import DenseField
from dreamcraft3d.shape.mesh import Mesh

CAMERAS = Cameras.at([0.0, 70.0, -120.0], 15.0)
TIMESTEPS = torch.tensor([300, 500, 700])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def priors(prior: EmbeddedPrior, one_view: bool) -> EmbeddedPriors:
    return EmbeddedPriors(prior, Means(one_view=one_view))


def gradient(loss: Callable[[Tensor], Tensor]) -> Tensor:
    pictures = torch.rand(3, 64, 64, 3, generator=seeded()).requires_grad_()
    loss(pictures).backward()
    assert pictures.grad is not None
    return pictures.grad


def test_the_distillation_gradient_is_the_batchs(prior: EmbeddedPrior) -> None:
    def of(one_view: bool) -> Tensor:
        guidance = priors(prior, one_view).words("a red mushroom", 3.0)
        return gradient(lambda pictures: sds_loss(pictures, guidance, CAMERAS, TIMESTEPS, seeded(1)))

    batch = of(one_view=False)
    assert batch.norm() > 0
    torch.testing.assert_close(of(one_view=True), batch, rtol=1e-4, atol=1e-4 * float(batch.abs().max()))


def test_the_bootstrapped_gradient_is_the_batchs(prior: EmbeddedPrior) -> None:
    def of(one_view: bool) -> Tensor:
        asked = priors(prior, one_view)
        dreambooth, lora = asked.dreambooth("a sks mushroom", 2.0, Copied(4)), asked.lora("a mushroom", Copied(4))
        return gradient(lambda pictures: bsd_loss(pictures, dreambooth, lora, CAMERAS, TIMESTEPS, seeded(1)))

    batch = of(one_view=False)
    assert batch.norm() > 0
    torch.testing.assert_close(of(one_view=True), batch, rtol=1e-3, atol=1e-3 * float(batch.abs().max()))


def test_what_learns_takes_the_mean_of_its_pictures_gradients(prior: EmbeddedPrior) -> None:
    one, batch = (priors(prior, one_view).lora("a mushroom", Copied(4)) for one_view in (True, False))
    clean = torch.randn(3, 48, 16, 16, generator=seeded())
    one.loss(clean, CAMERAS, seeded(5)).backward()
    seeds = torch.randint(1 << 62, (3,), generator=seeded(5)).tolist()
    for i, seed in enumerate(seeds):
        (batch.loss(clean[[i]], CAMERAS[[i]], seeded(seed)) / 3).backward()
    compared = [(a.grad, b.grad) for a, b in zip(one.parameters, batch.parameters, strict=True) if b.grad is not None]
    assert any(bool(expected.any()) for _, expected in compared)
    for found, expected in compared:
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


class Counted:
    """Remembers how many pictures it held activations of at once, and how often it encoded."""

    alphas_cumprod = torch.linspace(0.99, 0.01, 1000)

    def __init__(self) -> None:
        self.most, self.encoded = 0, 0

    def encode(self, pictures: Tensor) -> Tensor:
        self.most, self.encoded = max(self.most, len(pictures)), self.encoded + 1
        return pictures.permute(0, 3, 1, 2).tanh()

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        self.most = max(self.most, len(noisy), len(timesteps), len(cameras))
        return noisy / 2


@pytest.mark.parametrize("one_view", [False, True])
def test_a_guidance_is_shown_one_picture_at_a_time_and_encodes_again_backward(one_view: bool) -> None:
    counted = Counted()
    guidance: Guidance = OneView(counted) if one_view else counted
    gradient(lambda pictures: sds_loss(pictures, guidance, CAMERAS, TIMESTEPS, seeded(1)))
    assert (counted.most, counted.encoded) == ((1, 6) if one_view else (3, 1))


def test_a_meshs_views_and_gradients_are_the_batchs() -> None:
    ball = trimesh.creation.icosphere(2, 0.4)
    found = []
    for turns in (False, True):
        vertices = torch.tensor(ball.vertices, dtype=torch.float32).requires_grad_()
        mesh, colour = Mesh(vertices * 1.0, torch.tensor(ball.faces)), DenseColour(8, 0.8)

        def render(cameras: Cameras, mesh: Mesh = mesh, colour: DenseColour = colour) -> object:
            return render_mesh(mesh, cameras, 32, albedo=colour)

        views = in_turn(render, CAMERAS) if turns else render(CAMERAS)
        (views.rgb.square().sum() + views.depth.square().sum()).backward()
        found.append((views.rgb.detach(), vertices.grad, colour.grid.values.grad))
    assert found[0][1].any()
    for whole, one in zip(*found, strict=True):
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-5)


def test_a_fields_views_and_gradients_are_the_batchs() -> None:
    jitter, found = torch.rand(len(CAMERAS), 16 * 16, generator=seeded()), []
    for turns in (False, True):
        field = DenseField("density", 0.8, 12)
        everywhere = torch.ones(4, 4, 4, dtype=torch.bool)

        def render(
            cameras: Cameras, jitter: Tensor, field: DenseField = field, everywhere: Tensor = everywhere
        ) -> object:
            return render_volume(field, cameras, 16, everywhere, 0.1, jitter=jitter)

        views = in_turn(render, CAMERAS, jitter) if turns else render(CAMERAS, jitter)
        loss = views.rgb.square().sum() + views.samples.slope.square().mean()
        loss.backward()
        found.append((views.rgb.detach(), field.shape.grad, field.colour.grad))
    assert found[0][1].any()
    for whole, one in zip(*found, strict=True):
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-5)
