"""Runs guided by full-size models: tiny ones of exactly their classes, from folders where downloads would have put them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from runs import HALF, STEPS, Losses, drive, prepare
from tiny_pictures import PICTURE_SIZE

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.driver import Stopped
from dreamcraft3d.pipeline.full_priors import FullPriors
from dreamcraft3d.pipeline.run_priors import run_priors
from dreamcraft3d.priors.base import Copied, Drawing
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.priors.zero123 import Zero123Kind
from dreamcraft3d.render.camera import Cameras

CPU = torch.device("cpu")


@pytest.mark.parametrize(("preset", "closely"), [("small_paper", 1e-4), ("small_released", 1e-3)])
def test_every_stage_runs_and_goes_on_as_if_it_had_not_been_stopped(
    models: Path, preset: str, closely: float, picture_file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As closely as whole copies in float16 answer twice alike, which depends on how many threads share the work."""
    small, whole = request.getfixturevalue(preset), Losses()
    metrics = drive(prepare(tmp_path / "whole.glb", small, image=picture_file), whole)
    assert metrics is not None
    stages = metrics["stages"]
    assert [stages[name]["steps"] for name in ("coarse", "geometry", "texture")] == [STEPS] * 3

    parts = prepare(tmp_path / "parts.glb", small, image=picture_file)
    for stage in ("coarse", "geometry", "texture"):
        with pytest.raises(Stopped):
            drive(parts, Losses((stage, HALF + 1)))
        after = Losses((stage, HALF + 2))
        with pytest.raises(Stopped):
            drive(parts, after)
        expected = whole.losses[stage, HALF + 2]
        assert after.losses[stage, HALF + 2] == pytest.approx(expected, rel=closely, abs=closely)


def test_words_of_any_kind_are_drawn_by_the_text_to_image_model(models: Path, small_paper: Preset) -> None:
    priors = run_priors(small_paper.priors, CPU)
    prompt = priors.check_prompt("a zxqv of purple glorp")
    drawn = priors.draw(prompt, Drawing(2, 7.5, 1.0, 3), torch.Generator().manual_seed(0))
    assert drawn.shape == (2, PICTURE_SIZE, PICTURE_SIZE, 3)
    assert not torch.equal(drawn[0], drawn[1])


def test_a_given_meshs_picture_is_redrawn_by_the_painter(models: Path, small_paper: Preset) -> None:
    priors = run_priors(small_paper.priors, CPU)
    assert isinstance(priors, FullPriors)
    picture = torch.rand(1, PICTURE_SIZE, PICTURE_SIZE, 3, generator=torch.Generator().manual_seed(0))
    redrawn = priors.redraw(picture, "an egg", Drawing(1, 7.5, 0.5, 10), torch.Generator().manual_seed(1))
    painter = priors.painter("an egg", 7.5)
    noisy = noised(painter, painter.encode(picture), 0.5, torch.Generator().manual_seed(1))
    expected = painter.model.decode(restore(painter, noisy, Cameras.at(0.0), 0.5, 10))
    torch.testing.assert_close(redrawn, expected)
    larger = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(0))
    assert priors.redraw(larger, "an egg", Drawing(1, 7.5, 0.5, 3), torch.Generator()).shape == larger.shape


def test_a_dreambooth_is_reminded_of_its_class_as_the_frozen_painter_draws_it(
    models: Path, small_paper: Preset
) -> None:
    priors = run_priors(small_paper.priors, CPU)
    kept = [priors.dreambooth("a [v] egg", 1.0, Copied(preserved=2)).preserve for _ in range(2)]
    assert [each.prompt for each in kept] == ["an egg"] * 2
    assert torch.equal(kept[0].latents, kept[1].latents)
    assert len(kept[0].latents) == 2
    assert priors.dreambooth("a [v] egg", 1.0, Copied()).preserve is None


def test_shape_and_texture_models_are_not_held_together(models: Path, small_paper: Preset) -> None:
    priors = run_priors(small_paper.priors, CPU)
    assert isinstance(priors, FullPriors)
    priors.words("a red egg", 20.0)
    priors.view(torch.rand(1, 64, 64, 3), 5.0)
    assert set(priors.held) == {"flat", "view"}
    priors.painter("a red egg", 7.5)
    assert set(priors.held) == {"texture"}


def test_a_model_that_is_not_here_is_a_sentence(
    small_paper: Preset, saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMCRAFT3D_MODELS", str(shutil.copytree(saved_models, tmp_path / "models")))
    shutil.rmtree(tmp_path / "models" / "zero123-xl")
    with pytest.raises(UserError, match="zero123-xl is not on this machine"):
        run_priors(small_paper.priors, CPU)


def test_the_kind_of_a_3d_prior_follows_from_its_name(models: Path, small_paper: Preset) -> None:
    priors = run_priors(small_paper.priors, CPU)
    assert isinstance(priors, FullPriors)
    assert priors.kind == Zero123Kind.XL
    with pytest.raises(UserError, match="no Zero-1-to-3"):
        run_priors(small_paper.priors.model_copy(update={"view": "deepfloyd-if-xl"}), CPU)


def test_negative_words_lead_all_that_know_words_away_and_change_nothing_else(
    models: Path, small_paper: Preset, tiny_preset: Preset
) -> None:
    cameras, steps = Cameras.at([0]), torch.tensor([500])
    for preset in (small_paper, tiny_preset):
        led, plain = (run_priors(preset.priors, CPU, negative=negative) for negative in ("a blue chair", ""))
        picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
        for ask, differs in {"words": True, "painter": True, "view": False}.items():
            what = picture if ask == "view" else "a red mushroom"
            one, other = (getattr(priors, ask)(what, 4.0) for priors in (led, plain))
            noisy = one.encode(picture)
            answers = [guidance.predict_noise(noisy, steps, cameras) for guidance in (one, other)]
            assert torch.allclose(*answers, atol=1e-5) != differs, (preset.name, ask)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"coarse": {"sampled_views": 4}}, "sampled_views"),
        ({"texture": {"restore_with": "reference"}}, "restore renders"),
        ({"priors": {"view": "embedded"}}, "all are embedded"),
    ],
)
def test_what_only_embedded_priors_can_is_refused(
    small_paper: Preset, changed: dict[str, dict[str, object]], words: str
) -> None:
    values = small_paper.model_dump()
    for section, change in changed.items():
        values[section] |= change
    with pytest.raises(ValueError, match=words):
        Preset.model_validate(values)
