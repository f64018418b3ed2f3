"""What each means of needing less memory does to the models, and what it leaves as it is.

Seen to fail when: priors ignore a means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from runs import Losses, drive, prepare
from torch import Tensor

from dreamcraft3d.distillation.bsd import restored_renders
from dreamcraft3d.pipeline import full_priors
from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.full_priors import FullPriors
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_priors import run_priors
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.priors.base import Copied
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.priors.memory import LORA_RANK, NO_MEANS, Means
from dreamcraft3d.priors.stable_diffusion import StableDiffusion
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.shape.mesh import Mesh

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def priors_by(preset: Preset, **means: bool) -> FullPriors:
    priors = run_priors(preset.priors, CPU, replace(NO_MEANS, **means))
    assert isinstance(priors, FullPriors)
    return priors


def hold_all(priors: FullPriors) -> dict[str, Any]:
    priors.words("a red egg", 20.0)
    priors.view(torch.rand(1, 64, 64, 3), 5.0)
    held = dict(priors.held)
    priors.painter("a red egg", 7.5)
    return held | priors.held


@pytest.mark.parametrize("half", [False, True])
def test_frozen_models_are_bfloat16(models: Path, small_paper: Preset, half: bool) -> None:
    held = hold_all(priors_by(small_paper, half=half))
    wanted = torch.bfloat16 if half else torch.float32
    assert {model.unet.dtype for model in held.values()} == {wanted}
    assert held["view"].vae.dtype == held["texture"].vae.dtype == wanted


@pytest.mark.parametrize("checkpointing", [False, True])
def test_networks_checkpoint_their_gradients(models: Path, small_paper: Preset, checkpointing: bool) -> None:
    priors = priors_by(small_paper, checkpointing=checkpointing)
    held = hold_all(priors)
    networks = [held["texture"].unet, held["texture"].vae, held["view"].vae]
    networks += [priors.dreambooth("a red egg", 2.0, Copied()).unet, priors.lora("a red egg", Copied(4)).unet]
    assert [network.is_gradient_checkpointing for network in networks] == [checkpointing] * len(networks)


def test_a_dreambooth_is_a_lora_and_learns_as_one(prior: EmbeddedPrior, tiny_preset: Preset) -> None:
    """At a rate for all weights, a LoRA would learn next to nothing."""
    reference = Reference("a red egg", *(torch.zeros(1, 64, 64, channels) for channels in (3, 1, 1, 3)))
    ball = trimesh.creation.icosphere(1, 0.4)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    whole, lora = (
        TextureStage(
            Context(tiny_preset, EmbeddedPriors(prior), reference, CPU, 0, Means(lora=lora)), mesh, torch.zeros_like
        )
        for lora in (False, True)
    )
    trained = tiny_preset.texture
    assert whole.dreambooth is not None
    assert lora.dreambooth is not None
    assert (whole.dreambooth.rate, lora.dreambooth.rate) == (trained.dreambooth_rate, trained.lora_rate)
    assert len(whole.dreambooth.model.parameters) == len(list(prior.unet.parameters()))
    assert {p.shape[0] for name, p in lora.dreambooth.model.state_dict().items() if "lora_A" in name} == {LORA_RANK}


def test_text_encoders_stay_on_the_processor(
    models: Path, small_paper: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.device] = []

    def load(folder: Path, dtype: torch.dtype, device: torch.device, words_device: torch.device) -> StableDiffusion:
        asked.append(words_device)
        raise InterruptedError

    def encode_prompt(folder: Path, prompt: str, dtype: torch.dtype, device: torch.device, **more: object) -> None:
        asked.append(device)
        raise InterruptedError

    monkeypatch.setattr(full_priors, "encode_prompt", encode_prompt)
    monkeypatch.setattr(StableDiffusion, "load", load)
    for elsewhere in (False, True):
        priors = FullPriors(Path(), Path(), Path(), Path(), None, CUDA, Means(words_elsewhere=elsewhere))
        for ask in (priors.words, priors.painter):
            with pytest.raises(InterruptedError):
                ask("a red egg", 1.0)
    assert asked == [CUDA, CUDA, CPU, CPU]


def test_a_text_encoder_works_where_it_is_told_and_rests_on_the_processor(
    models: Path, small_paper: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hold_all(priors_by(small_paper))["texture"]
    visits: list[str] = []
    to: Callable[..., Any] = torch.nn.Module.to
    encoder = type(model.pipeline.text_encoder)
    monkeypatch.setattr(encoder, "to", lambda self, where: visits.append(str(where)) or to(self, where))
    model.encode_words(["a red egg"])
    assert visits == ["cpu", "cpu"]
    model.words_device = torch.device("meta")  # nowhere: that it is asked for is seen by what cannot be done there
    with pytest.raises((RuntimeError, NotImplementedError)):
        model.encode_words(["a red egg"])
    assert visits[2] == "meta"


def answers(priors: FullPriors) -> list[Tensor]:
    noisy, timesteps, cameras = torch.ones(1, 4, 32, 32), torch.tensor([500]), Cameras.at(30.0)
    flat, view = priors.words("a red egg", 20.0), priors.view(torch.full((1, 64, 64, 3), 0.5), 5.0)
    found = [view.predict_noise(noisy, timesteps, cameras)]
    found.append(flat.predict_noise(torch.ones(1, 3, 64, 64), timesteps, cameras))
    return [*found, view.predict_noise(noisy, timesteps, cameras)]


def test_the_shapes_priors_take_turns(models: Path, small_paper: Preset) -> None:
    priors = priors_by(small_paper, offload=True)
    for found, expected in zip(answers(priors), answers(priors_by(small_paper)), strict=True):
        torch.testing.assert_close(found, expected)
    flat, view = (priors.held[role].unet for role in ("flat", "view"))
    assert flat._hf_hook.prev_module_hook.model is view
    assert view._hf_hook.prev_module_hook.model is flat
    priors.painter("a red egg", 7.5)
    assert not priors.visits
    assert not hasattr(priors.held["texture"].unet, "_hf_hook")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card to come to")
def test_only_the_prior_that_is_asked_is_on_the_card(models: Path, small_paper: Preset) -> None:
    priors = run_priors(small_paper.priors, CUDA, Means(offload=True))
    assert isinstance(priors, FullPriors)
    flat, view = priors.words("a red egg", 20.0), priors.view(torch.rand(1, 64, 64, 3, device=CUDA), 5.0)
    timesteps, cameras = torch.tensor([500], device=CUDA), Cameras.at(30.0)
    for guidance, noisy, there in ((flat, (1, 3, 64, 64), "flat"), (view, (1, 4, 32, 32), "view")):
        guidance.predict_noise(torch.ones(noisy, device=CUDA), timesteps, cameras)
        assert {role for role, model in priors.held.items() if model.unet.device.type == "cuda"} == {there}


def test_a_restored_picture_is_the_same_one_by_one(models: Path, small_paper: Preset) -> None:
    latents, cameras = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), Cameras.at([0.0, 90.0])
    batch, one = (
        restored_renders(
            latents,
            priors_by(small_paper, one_view=one_view).painter("a red egg", 7.5),
            cameras,
            0.5,
            torch.Generator().manual_seed(1),
            8,
        )
        for one_view in (False, True)
    )
    torch.testing.assert_close(one, batch, rtol=1e-4, atol=1e-4)


def test_a_run_ends_with_all_of_them_in_force(
    models: Path, small_paper: Preset, picture_file: Path, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "egg.glb", small_paper, image=picture_file)
    folder.write_json("means.json", asdict(Means(True, True, True, True, True, True)))
    assert drive(folder, Losses()) is not None
