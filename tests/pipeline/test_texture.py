"""The texture stage by itself: what distils it, by each of its methods."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
import torch
import trimesh
from pydantic import ValidationError
from torch import Tensor

from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.distillation.vsd import vsd_loss
from dreamcraft3d.pipeline.config import Preset, changed
from dreamcraft3d.pipeline.ladder import possible
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.priors.base import Adapted, Copied, Guidance
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.priors.memory import NO_MEANS, Means
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.shape.mesh import Mesh

CPU = torch.device("cpu")
Method = Literal["sds", "vsd", "bsd"]


@dataclass(frozen=True)
class Counted(EmbeddedPriors):
    """The embedded priors, and what was asked of them."""

    asked: list[str] = field(default_factory=list)

    def painter(self, prompt: str, scale: float) -> Guidance:
        self.asked.append(f"painter {scale}")
        return super().painter(prompt, scale)

    def dreambooth(self, prompt: str, scale: float, copied: Copied) -> Adapted:
        self.asked.append(f"dreambooth that keeps {copied.preserved}" if copied.preserved else "dreambooth")
        return super().dreambooth(prompt, scale, replace(copied, preserved=0))

    def lora(self, prompt: str, copied: Copied) -> Adapted:
        self.asked.append("lora")
        return super().lora(prompt, copied)


def painted_by(preset: Preset, method: Method) -> Preset:
    return changed(preset, {"texture": {"method": method, "guidance_scale": 3.0, "restore_levels": (0.5, 0.3)}})


def stage_of(preset: Preset, prior: EmbeddedPrior, seed: int = 3, means: Means = NO_MEANS) -> TextureStage:
    """On a ball whose reference is a red disc."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    mask = (x * x + y * y < 0.4).float()[None, ..., None]
    rgb = 1 - mask * torch.tensor([0.2, 0.8, 0.8])
    reference = Reference("a red ball", rgb, mask, mask, torch.zeros(1, 64, 64, 3))
    ball = trimesh.creation.icosphere(2, 0.4)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    context = Context(preset, Counted(prior), reference, CPU, seed, means)
    return TextureStage(context, mesh, lambda points: torch.full_like(points, 0.5))


def asked_of(stage: TextureStage) -> list[str]:
    assert isinstance(stage.context.priors, Counted)
    return stage.context.priors.asked


@pytest.mark.parametrize(
    ("method", "asked"),
    [("sds", ["painter 3.0"]), ("vsd", ["lora", "painter 3.0"]), ("bsd", ["dreambooth", "lora"])],
)
def test_each_method_makes_no_model_that_it_does_not_need(
    method: Method, asked: list[str], tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    assert asked_of(stage_of(painted_by(tiny_preset, method), prior)) == asked


def test_the_dreambooth_is_reminded_of_as_many_pictures_as_the_preset_says(
    tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    texture = tiny_preset.texture.model_copy(update={"preserved": 3})
    asked = asked_of(stage_of(tiny_preset.model_copy(update={"texture": texture}), prior))
    assert "dreambooth that keeps 3" in asked


def test_the_embedded_priors_are_not_asked_to_preserve_a_class(tiny_preset: Preset) -> None:
    with pytest.raises(ValidationError, match="only a full-size prior can be reminded"):
        changed(tiny_preset, {"texture": {"preserved": 3}})


@pytest.mark.parametrize(("method", "numbers"), [("sds", set()), ("vsd", {"lora"}), ("bsd", {"lora", "round", "t'"})])
def test_sds_and_vsd_distil_for_as_many_steps_as_all_rounds_of_bsd(
    method: Method, numbers: set[str], tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    stage = stage_of(painted_by(tiny_preset, method), prior)
    told = [stage.step(index) for index in range(stage.steps)]
    distilled = [step for step in told if "distillation" in step]
    assert len(distilled) == 2 * tiny_preset.texture.distil_steps
    assert (len(told) == len(distilled)) == (method != "bsd")
    for step in distilled:
        assert set(step) - {"rgb", "mask", "depth", "normal", "smoothness", "distillation"} == numbers


@pytest.mark.parametrize("method", ["sds", "vsd"])
def test_the_gradient_of_each_method_is_its_losss(
    method: Method, tiny_preset: Preset, prior: EmbeddedPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the frozen painter, at the preset's scale, in the DreamBooth's place."""
    stage = stage_of(painted_by(tiny_preset, method), prior)
    cameras, timesteps = Cameras.at([20.0, 150.0], [10.0, 10.0]), torch.tensor([300, 600])
    pictures = torch.rand(2, 48, 48, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = stage.generator.get_state()
    (found,) = torch.autograd.grad(stage.score(pictures, cameras, timesteps), pictures)
    generator = torch.Generator()
    generator.set_state(before)
    priors = EmbeddedPriors(prior)
    painter, lora = priors.painter("a red ball", 3.0), priors.lora("a red ball", Copied(tiny_preset.texture.lora_rank))
    loss = (
        sds_loss(pictures, painter, cameras, timesteps, generator)
        if method == "sds"
        else vsd_loss(pictures, painter, lora, cameras, timesteps, generator)
    )
    (expected,) = torch.autograd.grad(loss, pictures)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected)


def trained(value: Any) -> list[Tensor]:
    """All tensors of a state."""
    if isinstance(value, Tensor):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [tensor for inner in values for tensor in trained(inner)]


@pytest.mark.parametrize(
    ("method", "more"),
    [("sds", {}), ("vsd", {}), ("bsd", {}), ("bsd", {"restore_every": 1, "lora_rank": 0, "dreambooth_steps": 5})],
)
def test_a_texture_stage_goes_on_from_its_state(
    method: Method, more: dict[str, int], tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    preset = changed(painted_by(tiny_preset, method), {"texture": more})
    whole, part = stage_of(preset, prior), stage_of(preset, prior)
    for index in range(3):
        whole.step(index)
        part.step(index)
    state = part.state()
    assert len(state["learners"]) == {"sds": 0, "vsd": 1, "bsd": 2}[method]
    resumed = stage_of(preset, prior, seed=4)
    resumed.restore(state)
    for index in range(3, min(whole.steps, 6)):
        torch.manual_seed(index)  # nothing may hang on the global generator
        assert resumed.step(index) == pytest.approx(whole.step(index), rel=1e-4)
    for found, expected in zip(trained(resumed.state()), trained(whole.state()), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_without_a_dreambooth_none_can_become_a_lora(tiny_preset: Preset) -> None:
    assert "lora" in possible(painted_by(tiny_preset, "bsd"), CPU)
    assert "lora" not in possible(painted_by(tiny_preset, "vsd"), CPU)


def test_a_whole_follower_can_become_a_lora(tiny_preset: Preset, prior: EmbeddedPrior) -> None:
    whole = changed(painted_by(tiny_preset, "vsd"), {"texture": {"lora_rank": 0}})
    assert "lora" in possible(whole, CPU)
    sizes = []
    for means in (NO_MEANS, Means(lora=True)):
        stage = stage_of(whole, prior, means=means)
        assert stage.lora is not None
        sizes.append(sum(p.numel() for p in stage.lora.model.parameters))
    assert sizes[1] < sizes[0] / 5


def test_the_embedded_priors_copies_are_not_trained_in_half_precision(tiny_preset: Preset) -> None:
    with pytest.raises(ValidationError, match="only copies of a full-size prior"):
        changed(tiny_preset, {"texture": {"half": True}})
