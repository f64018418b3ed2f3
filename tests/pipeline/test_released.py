"""What the released code does otherwise than the paper, each a setting.

Seen to fail when: alternating steps do both or neither, weights do not move, the 3D term takes the 2D term's timesteps, a
DreamBooth without camera is told one, the identifier is there nevertheless, Perp-Neg is on for all, the 3D prior is never or
always asked in steps that show normals, the rim counts, the texture's timesteps stay.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from runs import Losses, drive, prepare
from torch import Tensor

from dreamcraft3d.distillation.hybrid import Hybrid
from dreamcraft3d.pipeline.config import Preset, changed
from dreamcraft3d.pipeline.full_priors import FullPriors
from dreamcraft3d.pipeline.losses import eroded_rgb, weight_at
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_priors import run_priors
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.priors.base import Copied
from dreamcraft3d.priors.deepfloyd import DeepFloydGuidance
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.shape.mesh import Mesh

CPU = torch.device("cpu")
SAME_WORDS = Cameras.at([-30.0, 30.0])
"""Two cameras that have the same view words."""


def losses_of(preset: Preset, picture_file: Path, folder: Path) -> Losses:
    watcher = Losses()
    drive(prepare(folder / "egg.glb", preset, image=picture_file), watcher)
    return watcher


@pytest.fixture(scope="module")
def alternating(tiny_preset: Preset, picture_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Losses:
    changes: dict[str, Any] = {
        "coarse": {"alternate": True, "fit_steps": 0, "sampled_views": 0, "density_steps": 4, "sdf_steps": 2},
        "geometry": {"alternate": True, "normal_share": 0.5, "consistency": ((0, 2.0), (4, 0.0))},
        "texture": {"alternate": True, "dreambooth_steps": 2, "distil_steps": 4},
    }
    return losses_of(changed(tiny_preset, changes), picture_file, tmp_path_factory.mktemp("alternating"))


@pytest.mark.parametrize("stage", ["coarse", "texture"])
def test_steps_look_at_the_reference_and_distil_in_turn(alternating: Losses, stage: str) -> None:
    steps = {done - 1: names for (of, done), names in alternating.losses.items() if of == stage}
    kinds = [("rgb" in names, "distillation" in names) for _, names in sorted(steps.items())]
    turns = [(True, False), (False, True)]
    assert kinds == ([(False, False)] * 2 + turns * 2 if stage == "texture" else turns * 3)


def test_geometry_steps_that_show_normals_leave_the_reference_alone(
    alternating: Losses, tiny_preset: Preset, picture_file: Path, tmp_path: Path
) -> None:
    def with_reference(losses: Losses) -> list[bool]:
        return ["rgb" in names for (stage, _), names in sorted(losses.losses.items()) if stage == "geometry"]

    together = changed(tiny_preset, {"geometry": {"normal_share": 0.5}})
    assert with_reference(alternating) == [True, False] * (tiny_preset.geometry.steps // 2)
    assert all(with_reference(losses_of(together, picture_file, tmp_path)))


@pytest.mark.parametrize("always", [True, False])
def test_the_3d_prior_is_asked_in_steps_that_show_normals_or_not(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, always: bool
) -> None:
    asked: list[Tensor] = []
    view_term = Hybrid.view_term

    def noted(self: Hybrid, pictures: Tensor, *more: Any) -> Tensor:
        asked.append(pictures)
        return view_term(self, pictures, *more)

    preset = changed(tiny_preset, {"geometry": {"normal_share": 0.5, "view_always": always}})
    monkeypatch.setattr(Hybrid, "view_term", noted)
    drive(prepare(tmp_path / "egg.glb", preset, image=picture_file, until="geometry"), Losses())
    in_coarse = preset.coarse.density_steps + preset.coarse.sdf_steps
    assert len(asked) - in_coarse == preset.geometry.steps // (1 if always else 2)


def test_colours_at_the_rim_of_the_mask_do_not_count_where_it_is_left_out() -> None:
    mask = torch.zeros(1, 32, 32, 1)
    mask[:, 4:28, 4:28] = 1
    black, painted = torch.zeros(1, 32, 32, 3), torch.zeros(1, 32, 32, 3)
    painted[:, 4:8, 4:28] = 1.0  # four rows, all within the rim
    assert float(eroded_rgb(painted, black, mask, 4)) == 0
    painted[:, 8:12, 8:24] = 0.5  # four of the sixteen rows within
    assert float(eroded_rgb(painted, black, mask, 4)) == pytest.approx(0.5 * 4 / 16)
    assert float(eroded_rgb(painted, black, torch.zeros_like(mask), 4)) == 0


def test_texture_timesteps_fall_through_the_stage(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tensor] = []
    score = TextureStage.score

    def noted(self: TextureStage, pictures: Tensor, cameras: Cameras, timesteps: Tensor) -> Tensor:
        asked.append(timesteps)
        return score(self, pictures, cameras, timesteps)

    monkeypatch.setattr(TextureStage, "score", noted)
    falling = {"timesteps_start": (0.8, 0.8), "timesteps_end": (0.2, 0.2), "dreambooth_steps": 2, "distil_steps": 2}
    losses_of(changed(tiny_preset, {"texture": falling}), picture_file, tmp_path)
    rounds = len(tiny_preset.texture.restore_levels)
    steps = [round_ * 4 + within for round_ in range(rounds) for within in (2, 3)]
    expected = [800 - 600 * step / (rounds * 4) for step in steps]
    assert [float(t.float().mean()) for t in asked] == pytest.approx(expected, abs=1)


def test_regularisers_are_in_steps_of_both_kinds(alternating: Losses) -> None:
    assert all("smoothness" in names for (stage, _), names in alternating.losses.items() if stage == "coarse")


def test_the_follower_learns_only_where_there_is_something_to_distil(alternating: Losses) -> None:
    steps = [names for (stage, _), names in alternating.losses.items() if stage == "texture"]
    assert all(("lora" in names) == ("distillation" in names) for names in steps)


def test_a_weight_moves_between_its_points() -> None:
    points = ((1000.0, 10.0), (2000.0, 1.0))
    assert [weight_at(points, step) for step in (0, 1000, 1500, 2000, 9000)] == [10.0, 10.0, 5.5, 1.0, 1.0]
    assert weight_at(0.25, 7) == 0.25


def test_a_moving_weight_is_in_force(alternating: Losses, tiny_preset: Preset) -> None:
    """From 2 at the first step to 0.5 at the fourth, of a term that changes little in so few steps."""
    terms = [alternating.losses["geometry", done]["consistency"] for done in (1, 4)]
    assert terms[1] / terms[0] == pytest.approx(0.25, rel=0.3)


@pytest.mark.parametrize("section", ["coarse", "geometry"])
def test_the_3d_term_can_have_timesteps_of_its_own(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    asked: list[tuple[Tensor, Tensor | None]] = []
    loss = Hybrid.loss

    def noted(self: Hybrid, pictures: Tensor, cameras: Cameras, steps: Tensor, draws: Any, seen: Any = None) -> Tensor:
        asked.append((steps, seen))
        return loss(self, pictures, cameras, steps, draws, seen)

    monkeypatch.setattr(Hybrid, "loss", noted)
    preset = changed(tiny_preset, {"geometry": {"normal_share": 0.0}})
    preset = changed(preset, {section: {"distillation": {"view_timesteps": (0.9, 0.95)}}})
    drive(prepare(tmp_path / "egg.glb", preset, image=picture_file, until="geometry"), Losses())
    stages = {"coarse": asked[: -preset.geometry.steps], "geometry": asked[-preset.geometry.steps :]}
    own, other = stages.pop(section), next(iter(stages.values()))
    assert own
    assert other
    assert all(seen is None for _, seen in other)
    assert all(bool((steps <= 850).all()) for steps, _ in own)
    assert all(seen is not None and bool(((seen >= 900) & (seen <= 950)).all()) for _, seen in own)


def test_the_terms_are_distilled_at_their_own_timesteps() -> None:
    class Asked:
        alphas_cumprod = torch.linspace(0.99, 0.01, 1000)

        def encode(self, pictures: Tensor) -> Tensor:
            return pictures.permute(0, 3, 1, 2)

        def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
            self.timesteps = timesteps
            return noisy

    flat, view = Asked(), Asked()
    steps = torch.tensor([100]), torch.tensor([700])
    Hybrid(flat, view).loss(torch.rand(1, 4, 4, 3), Cameras.at(0.0), steps[0], torch.Generator(), steps[1])
    assert (flat.timesteps, view.timesteps) == steps


def two_views(guidance: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    noise = guidance.predict_noise(latents.expand(2, -1, -1, -1), torch.tensor([500, 500]), SAME_WORDS)
    return noise[0], noise[1]


@pytest.mark.parametrize("rank", [None, 4])
def test_copies_of_the_embedded_prior_are_told_cameras_or_none(prior: EmbeddedPrior, rank: int | None) -> None:
    latents = torch.randn(1, 48, 16, 16, generator=torch.Generator().manual_seed(0))
    told, untold = (
        EmbeddedPriors(prior).dreambooth("a mushroom", 1.0, Copied(rank, camera)) for camera in (True, False)
    )
    assert not torch.allclose(*two_views(told, latents), atol=1e-3)
    torch.testing.assert_close(*two_views(untold, latents))


@pytest.mark.parametrize("rank", [None, 4])
def test_copies_of_stable_diffusion_are_told_cameras_or_none(
    models: Path, small_paper: Preset, rank: int | None
) -> None:
    priors = run_priors(small_paper.priors, CPU)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    differ = []
    for camera in (True, False):
        copy = priors.dreambooth("a mushroom", 2.0, Copied(rank, camera))
        optimizer = torch.optim.AdamW(copy.parameters, lr=1e-2)
        for seed in range(3):  # the camera's embedding starts at zero
            optimizer.zero_grad()
            copy.loss(latents.expand(2, -1, -1, -1), SAME_WORDS, torch.Generator().manual_seed(seed)).backward()
            optimizer.step()
        differ.append(not torch.allclose(*two_views(copy, latents), atol=1e-4))
        again = priors.dreambooth("a mushroom", 2.0, Copied(rank, camera))
        again.load_state_dict({name: value.clone() for name, value in copy.state_dict().items()})
        torch.testing.assert_close(two_views(again, latents), two_views(copy, latents))
    assert differ == [True, False]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, ("a [v] egg", True)), ({"identifier": False, "camera": False}, ("a red egg", False))],
)
def test_a_dreambooth_learns_an_identifier_or_the_prompt_itself(
    tiny_preset: Preset,
    prior: EmbeddedPrior,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, bool],
    expected: tuple[str, bool],
) -> None:
    asked: list[tuple[str, bool]] = []
    make = EmbeddedPriors.dreambooth

    def noted(self: EmbeddedPriors, prompt: str, scale: float, copied: Copied) -> Any:
        asked.append((prompt, copied.camera))
        return make(self, prompt, scale, copied)

    monkeypatch.setattr(EmbeddedPriors, "dreambooth", noted)
    reference = Reference("a red egg", *(torch.zeros(1, 64, 64, channels) for channels in (3, 1, 1, 3)))
    ball = trimesh.creation.icosphere(1, 0.4)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    preset = changed(tiny_preset, {"texture": settings})
    TextureStage(Context(preset, EmbeddedPriors(prior), reference, CPU, 0), mesh, torch.zeros_like)
    assert asked == [expected]


@pytest.mark.parametrize("perp_neg", [True, False])
def test_perp_neg_is_the_presets_to_choose(models: Path, small_paper: Preset, perp_neg: bool) -> None:
    priors = run_priors(small_paper.priors.model_copy(update={"perp_neg": perp_neg}), CPU)
    assert isinstance(priors, FullPriors)
    guidance = priors.words("a red egg", 20.0)
    assert isinstance(guidance, DeepFloydGuidance)
    assert guidance.use_perp_neg == perp_neg
