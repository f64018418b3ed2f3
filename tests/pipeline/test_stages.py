"""Stages and their parts, without a run around them."""

from __future__ import annotations

import pytest
import torch
from runs import Finished

from dreamcraft3d.picture.outline import outlines
from dreamcraft3d.pipeline.coarse import CoarseStage, as_signed_distance, load_field, make_field
from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.losses import mask_error, masked_rgb, negative_pearson, normal_cosine
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.shape.field import SURFACE_LOGIT, DenseField


@pytest.mark.parametrize("blur", [0.5, 8.0])
@pytest.mark.parametrize("grey", [0.05, 0.6])
def test_the_outline_of_a_disc_is_as_large_whether_sharp_or_blurred(blur: float, grey: float) -> None:
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    disc = torch.sigmoid((20 - (x * x + y * y).sqrt()) * 2 / blur)
    picture = (1 - (1 - grey) * disc)[None, ..., None].expand(-1, -1, -1, 3)
    radius = float(outlines(picture).sum() / torch.pi) ** 0.5
    assert radius == pytest.approx(20, abs=2.5)


@pytest.mark.parametrize("encoding", ["dense", "hash"])
def test_a_coarse_stage_goes_on_from_its_state(
    encoding: str, finished: Finished, tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    """Both encodings, through the change from density to signed distance, without sampled views."""
    values = tiny_preset.model_dump()
    values["coarse"] |= {"encoding": encoding, "sampled_views": 0, "density_steps": 1, "sdf_steps": 1}
    values["coarse"] |= {"picture": 12, "samples": 20}
    preset = Preset.model_validate(values)
    reference = Reference.load(finished[0].result("reference"), "a red egg", "cpu")
    context = Context(preset, EmbeddedPriors(prior), reference, torch.device("cpu"), 3)
    whole, parts = CoarseStage(context), CoarseStage(context)
    assert whole.steps == 2
    for index in range(2):
        whole.step(index)
        torch.rand(1)  # nothing may hang on the global generator
        parts.step(index)
        state = parts.state()
        parts = CoarseStage(context)
        parts.restore(state)
    expected = whole.field.state_dict()
    for name, value in parts.field.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=0)


def test_nothing_is_lost_where_a_finished_field_is_read_again(finished: Finished, tiny_preset: Preset) -> None:
    field = load_field(finished[0].result("coarse"), torch.device("cpu"))
    assert field.surface == "sdf"
    assert (field.signed_distance(torch.zeros(1, 3)) < 0).all()


def test_a_signed_distance_takes_over_where_the_density_stood(tiny_preset: Preset) -> None:
    values = tiny_preset.coarse.model_dump() | {"resolution": 33}
    settings = type(tiny_preset.coarse).model_validate(values)
    density = make_field(settings, 0.8, "density")
    ball = 0.5 * (1 - SURFACE_LOGIT / 10)  # where its logit, 10 (1 - r / 0.5), is that of a surface
    assert isinstance(density, DenseField)
    taken = as_signed_distance(density, settings)
    for radius, sign in ((ball - 0.05, -1), (ball + 0.05, 1)):
        directions = torch.nn.functional.normalize(
            torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1
        )
        assert (taken.signed_distance(directions * radius).sign() == sign).float().mean() > 0.99
    distance = taken.signed_distance(torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.7, 0.0]]))
    assert distance.tolist() == pytest.approx([0.3 - ball, 0.7 - ball], abs=0.026)  # half a voxel


def test_losses_vanish_at_the_reference_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb, depth = (torch.rand(1, 8, 8, c, generator=generator) for c in (3, 1))
    normal = torch.nn.functional.normalize(torch.randn(1, 8, 8, 3, generator=generator), dim=-1)
    mask = (torch.rand(1, 8, 8, 1, generator=generator) > 0.4).float()
    found = [
        masked_rgb(rgb, rgb, mask), mask_error(mask, mask),
        negative_pearson(3 * depth + 1, depth, mask), normal_cosine(normal, normal, mask),
    ]  # fmt: skip
    assert [x.item() for x in found] == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert negative_pearson(-depth, depth, mask).item() == pytest.approx(2, abs=1e-5)
    assert normal_cosine(-normal, normal, mask).item() == pytest.approx(2, abs=1e-5)
    assert masked_rgb(rgb + 0.1, rgb, mask).item() == pytest.approx(0.01)
    assert masked_rgb(torch.where(mask > 0, rgb, 0), rgb, mask).item() == 0


def test_losses_of_an_empty_mask_are_nothing_and_have_a_gradient() -> None:
    mask = torch.zeros(1, 4, 4, 1)
    for loss in (negative_pearson, normal_cosine, masked_rgb):
        x = torch.rand(1, 4, 4, 3, requires_grad=True)
        value = loss(x, torch.rand(1, 4, 4, 3), mask)
        value.backward()
        assert value.item() == 0
        assert x.grad is not None
        assert not x.grad.any()
