"""DreamBooth and LoRA of Stable Diffusion, on a tiny model of its very classes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_pictures import LATENT_SIZE, PICTURE_SIZE, save_stable_diffusion, save_stable_diffusion_xl
from torch import Tensor

from dreamcraft3d.distillation.bsd import bsd_loss
from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.adapted_stable_diffusion import AdaptedStableDiffusion, ClassPictures
from dreamcraft3d.priors.stable_diffusion import StableDiffusion, StableDiffusionGuidance, Words
from dreamcraft3d.render.camera import Cameras

PROMPT = "a [v] mushroom"
TIMESTEPS = torch.tensor([150, 900])
CAMERAS = Cameras.at([-30, 30])
"""Two that have the same view words."""
RATES = {None: 3e-3, 4: 1e-2}
BOTH = pytest.mark.parametrize("rank", [None, 4], ids=["dreambooth", "lora"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_stable_diffusion(folder)
    return folder


@pytest.fixture
def model(folder: Path) -> StableDiffusion:
    return StableDiffusion.load(folder)


@pytest.fixture(scope="module")
def velocity_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that predicts velocities: under much noise these are the picture itself, which is learnt in few steps."""
    folder = tmp_path_factory.mktemp("velocity")
    save_stable_diffusion(folder, "v_prediction")
    return folder


@pytest.fixture
def noisy() -> Tensor:
    return torch.randn(2, 4, LATENT_SIZE, LATENT_SIZE, generator=torch.Generator().manual_seed(0))


def two_colours() -> Tensor:
    """Latents of two pictures, each of one colour."""
    return torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 4, LATENT_SIZE, LATENT_SIZE).clone()


@pytest.fixture
def clean() -> Tensor:
    return two_colours()


def weights_of(model: StableDiffusion) -> dict[str, Tensor]:
    """The base's, whatever adapters have done to their names."""
    named = model.unet.state_dict().items()
    return {
        name.replace(".base_layer", ""): p.clone()
        for name, p in named
        if "lora_" not in name and "class_embedding" not in name
    }


def train(adapted: AdaptedStableDiffusion, clean: Tensor, steps: int, rate: float = 1e-3) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(adapted.parameters, lr=rate)
    losses = []
    for _ in range(steps):
        loss = adapted.loss(clean, CAMERAS, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def error(adapted: AdaptedStableDiffusion, clean: Tensor, cameras: Cameras) -> float:
    """Mean squared error of the predicted noise, the same noise at each call."""
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(7))
    timesteps = torch.full((len(clean),), 800)
    noisy = adapted.model.scheduler.add_noise(clean, noise, timesteps)
    return (adapted.predict_noise(noisy, timesteps, cameras) - noise).square().mean().item()


# before training


@BOTH
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_untrained_copy_predicts_as_the_base(
    model: StableDiffusion, noisy: Tensor, rank: int | None, scale: float
) -> None:
    expected = StableDiffusionGuidance(model, PROMPT, scale).predict_noise(noisy, TIMESTEPS, CAMERAS)
    found = AdaptedStableDiffusion(model, PROMPT, scale, rank).predict_noise(noisy, TIMESTEPS, CAMERAS)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@BOTH
def test_an_untrained_copy_of_sdxl_and_of_a_velocity_model_predict_as_their_bases(
    tmp_path: Path, noisy: Tensor, rank: int | None
) -> None:
    save_stable_diffusion_xl(tmp_path / "xl")
    save_stable_diffusion(tmp_path / "v", "v_prediction")
    for kind in ("xl", "v"):
        model = StableDiffusion.load(tmp_path / kind)
        expected = StableDiffusionGuidance(model, PROMPT, 2.0).predict_noise(noisy, TIMESTEPS, CAMERAS)
        adapted = AdaptedStableDiffusion(model, PROMPT, 2.0, rank)
        torch.testing.assert_close(adapted.predict_noise(noisy, TIMESTEPS, CAMERAS), expected, atol=1e-5, rtol=1e-5)
        losses = train(adapted, noisy, 2)
        assert all(loss < 10 for loss in losses)


@BOTH
def test_every_copy_begins_the_same(model: StableDiffusion, rank: int | None) -> None:
    """Or a run could not be repeated."""
    first, second = (AdaptedStableDiffusion(model, PROMPT, 1.0, rank).state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# training


@dataclass(frozen=True)
class Course:
    """What came of training a copy on two pictures from two cameras."""

    adapted: AdaptedStableDiffusion
    losses: list[float]
    base_before: dict[str, Tensor]


@pytest.fixture(scope="module", params=[None, 4], ids=["dreambooth", "lora"])
def course(request: pytest.FixtureRequest, velocity_folder: Path) -> Course:
    model = StableDiffusion.load(velocity_folder)
    before = weights_of(model)
    adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, request.param)
    losses = train(adapted, two_colours(), 25, RATES[request.param])
    return Course(adapted, losses, before)


def test_training_lowers_the_loss(course: Course) -> None:
    assert sum(course.losses[-5:]) < 0.85 * sum(course.losses[:5])


def test_two_pictures_under_the_same_words_are_told_apart_by_their_cameras(course: Course) -> None:
    swapped = error(course.adapted, two_colours(), CAMERAS[[1, 0]])
    assert error(course.adapted, two_colours(), CAMERAS) < 0.8 * swapped


def test_training_leaves_the_base_alone(course: Course, velocity_folder: Path, noisy: Tensor) -> None:
    model = course.adapted.model
    after = weights_of(model)
    assert course.base_before.keys() == after.keys()
    assert all(torch.equal(weights, after[name]) for name, weights in course.base_before.items())
    found, expected = (
        StableDiffusionGuidance(m, PROMPT, 3.0).predict_noise(noisy, TIMESTEPS, CAMERAS)
        for m in (model, StableDiffusion.load(velocity_folder))
    )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_a_lora_trains_a_small_share_and_the_camera(model: StableDiffusion) -> None:
    whole = sum(p.numel() for p in model.unet.parameters())
    lora = AdaptedStableDiffusion(model, PROMPT, 1.0, lora_rank=2)
    names = set(lora.state_dict())
    assert all("lora_" in name or name.startswith("class_embedding.") for name in names)
    assert sum("lora_" in name for name in names) == len(names) - 4
    assert sum(p.numel() for p in lora.parameters) == sum(p.numel() for p in lora.state_dict().values()) < 0.2 * whole


def test_two_loras_share_the_bases_weights_and_not_their_learning(
    model: StableDiffusion, noisy: Tensor, clean: Tensor
) -> None:
    dreambooth = AdaptedStableDiffusion(model, PROMPT, 2.0, lora_rank=8)
    follower = AdaptedStableDiffusion(model, "a mushroom", 1.0, lora_rank=2)
    assert dreambooth.unet is follower.unet is model.unet
    assert not {id(p) for p in dreambooth.parameters} & {id(p) for p in follower.parameters}
    train(dreambooth, clean, 3)
    learnt = dreambooth.predict_noise(noisy, TIMESTEPS, CAMERAS)
    train(follower, -clean, 3)
    assert torch.equal(dreambooth.predict_noise(noisy, TIMESTEPS, CAMERAS), learnt)
    fresh = AdaptedStableDiffusion(model, "a mushroom", 1.0, lora_rank=2).predict_noise(noisy, TIMESTEPS, CAMERAS)
    assert (follower.predict_noise(noisy, TIMESTEPS, CAMERAS) - fresh).abs().max() > 1e-4


def test_a_lora_is_itself_again_after_the_frozen_model_has_predicted(
    model: StableDiffusion, noisy: Tensor, clean: Tensor
) -> None:
    lora = AdaptedStableDiffusion(model, PROMPT, 1.0, lora_rank=4)
    train(lora, clean, 3)
    learnt = lora.predict_noise(noisy, TIMESTEPS, CAMERAS)
    StableDiffusionGuidance(model, PROMPT, 1.0).predict_noise(noisy, TIMESTEPS, CAMERAS)
    assert torch.equal(lora.predict_noise(noisy, TIMESTEPS, CAMERAS), learnt)


def test_a_full_copy_made_after_a_lora_is_one_of_the_bare_base(model: StableDiffusion, noisy: Tensor) -> None:
    expected = StableDiffusionGuidance(model, PROMPT, 1.0).predict_noise(noisy, TIMESTEPS, CAMERAS)
    train(AdaptedStableDiffusion(model, PROMPT, 1.0, lora_rank=4), noisy, 2)
    full = AdaptedStableDiffusion(model, PROMPT, 1.0)
    torch.testing.assert_close(full.predict_noise(noisy, TIMESTEPS, CAMERAS), expected, atol=1e-5, rtol=1e-5)
    assert not any("lora" in name for name in full.state_dict())


@BOTH
def test_a_copy_goes_on_from_its_saved_weights(
    folder: Path, model: StableDiffusion, noisy: Tensor, clean: Tensor, rank: int | None
) -> None:
    AdaptedStableDiffusion(model, "a chair", 1.0, lora_rank=2)  # so that the adapters' names differ
    trained = AdaptedStableDiffusion(model, PROMPT, 2.0, rank)
    train(trained, clean, 3)
    again = AdaptedStableDiffusion(StableDiffusion.load(folder), PROMPT, 2.0, rank)
    again.load_state_dict({name: value.clone() for name, value in trained.state_dict().items()})
    expected = trained.predict_noise(noisy, TIMESTEPS, CAMERAS)
    torch.testing.assert_close(again.predict_noise(noisy, TIMESTEPS, CAMERAS), expected)


@BOTH
def test_gradient_checkpointing_gives_the_same_gradients(
    model: StableDiffusion, noisy: Tensor, clean: Tensor, rank: int | None
) -> None:
    adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, rank)
    train(adapted, clean, 1)  # at first, half of a LoRA's gradients are nought
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            adapted.unet.enable_gradient_checkpointing()
        loss = adapted.loss(clean, CAMERAS, torch.Generator().manual_seed(0))
        gradients.append(torch.autograd.grad(loss, adapted.parameters))
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)
    assert sum(bool(g.any()) for g in gradients[0]) > 0.9 * len(gradients[0])


# precision


def test_small_updates_of_half_precision_weights_round_away_and_ours_do_not(folder: Path, clean: Tensor) -> None:
    model = StableDiffusion.load(folder, dtype=torch.float16)
    ours = AdaptedStableDiffusion(model, PROMPT, 1.0)
    assert {p.dtype for p in ours.parameters} == {torch.float32}
    half = [p.detach().half().requires_grad_() for p in ours.parameters]
    before = torch.cat([p.detach().flatten() for p in ours.parameters])
    for seed in range(5):
        ours.loss(clean, CAMERAS, torch.Generator().manual_seed(seed)).backward()
    for p, mine in zip(half, ours.parameters, strict=True):
        assert mine.grad is not None
        mine.grad = mine.grad.sign()  # what Adam makes of any gradient at first
        p.grad = mine.grad.half()
    for parameters in (half, ours.parameters):
        torch.optim.AdamW(parameters, lr=1e-5, eps=1e-4, weight_decay=0.0).step()  # float16 knows no 1e-8
    in_half, in_single = (torch.cat([p.detach().flatten() for p in x]) for x in (half, ours.parameters))
    large = before.abs() > 1 / 32  # whose neighbours in float16 are 3e-5 and more away
    assert large.float().mean() > 0.3
    assert (in_half != before.half())[large].float().mean() == 0
    assert (in_single != before)[large].float().mean() > 0.9


@BOTH
def test_on_a_base_in_bfloat16_a_copy_learns_in_single_precision(
    velocity_folder: Path, clean: Tensor, rank: int | None
) -> None:
    model = StableDiffusion.load(velocity_folder, dtype=torch.bfloat16)
    adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, rank)
    losses = train(adapted, clean, 20, RATES[rank])
    assert {p.dtype for p in adapted.parameters} == {p.dtype for p in adapted.state_dict().values()} == {torch.float32}
    assert {p.dtype for name, p in weights_of(model).items()} == {torch.bfloat16}
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize(("dtype", "computed"), [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.float32)])
def test_a_full_copy_computes_in_the_bases_precision(
    velocity_folder: Path, clean: Tensor, noisy: Tensor, dtype: torch.dtype, computed: torch.dtype
) -> None:
    """Its weights are single precision either way; on a base in bfloat16, half the activations' memory is spared."""
    adapted = AdaptedStableDiffusion(StableDiffusion.load(velocity_folder, dtype=dtype), PROMPT, 1.0)
    seen: list[torch.dtype] = []
    adapted.unet.mid_block.register_forward_hook(lambda _module, _given, answer: seen.append(answer.dtype))
    adapted.loss(clean, CAMERAS, torch.Generator().manual_seed(0)).backward()
    adapted.predict_noise(noisy, TIMESTEPS, CAMERAS)
    assert seen == [computed, computed]
    assert {p.grad.dtype for p in adapted.parameters if p.grad is not None} == {torch.float32}


def test_a_whole_copy_that_is_float16_as_in_the_released_code_hardly_learns(
    model: StableDiffusion, clean: Tensor, noisy: Tensor
) -> None:
    """Most weights beyond 1/32 stand still, by the released rate, damping and weight of the loss; in float32 few do.

    What moves in float16 does so because small gradients' squares are nought there, which makes for larger steps.
    """
    moved = {}
    for half in (True, False):
        copy = AdaptedStableDiffusion(model, PROMPT, 2.0, camera=False, half=half)
        assert {p.dtype for p in copy.parameters} == {torch.float16 if half else torch.float32}
        before = torch.cat([p.detach().float().flatten() for p in copy.parameters])
        optimizer = torch.optim.AdamW(copy.parameters, lr=1e-5, eps=1e-3, weight_decay=0.0)
        for seed in range(3):
            optimizer.zero_grad()
            copy.loss(clean, CAMERAS, torch.Generator().manual_seed(seed)).backward()
            optimizer.step()
        after = torch.cat([p.detach().float().flatten() for p in copy.parameters])
        large = before.abs() > 1 / 32
        moved[half] = float((after != before)[large].float().mean())
        assert after.isfinite().all()
        assert copy.predict_noise(noisy, TIMESTEPS, CAMERAS).dtype == torch.float32
    assert moved[True] < 0.3
    assert moved[False] > 0.8


@BOTH
def test_a_copy_at_another_scale_is_guided_otherwise_and_goes_on_learning(
    model: StableDiffusion, noisy: Tensor, clean: Tensor, rank: int | None
) -> None:
    adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, rank)
    other = adapted.at_scale(4.0)
    train(adapted, clean, 2)
    expected = AdaptedStableDiffusion(model, PROMPT, 4.0, rank)
    expected.load_state_dict({name: value.clone() for name, value in adapted.state_dict().items()})
    found = other.predict_noise(noisy, TIMESTEPS, CAMERAS)
    torch.testing.assert_close(found, expected.predict_noise(noisy, TIMESTEPS, CAMERAS))
    assert not torch.allclose(found, adapted.predict_noise(noisy, TIMESTEPS, CAMERAS), atol=1e-4)


def test_a_lora_on_a_float16_base_is_refused(folder: Path) -> None:
    model = StableDiffusion.load(folder, dtype=torch.float16)
    with pytest.raises(UserError, match="LoRA cannot be trained on a model in float16"):
        AdaptedStableDiffusion(model, PROMPT, 1.0, lora_rank=4)


# prior preservation


def class_pictures(model: StableDiffusion, seed: int) -> ClassPictures:
    return ClassPictures.draw(model, "a mushroom", 2, 3.0, steps=4, generator=torch.Generator().manual_seed(seed))


def test_class_pictures_are_drawn_by_the_frozen_model_and_follow_the_seed(model: StableDiffusion) -> None:
    drawn = class_pictures(model, 0)
    train(AdaptedStableDiffusion(model, PROMPT, 1.0, lora_rank=4), drawn.latents, 2)
    again, other = class_pictures(model, 0), class_pictures(model, 1)
    assert drawn.latents.shape == (2, 4, LATENT_SIZE, LATENT_SIZE)
    assert torch.equal(drawn.latents, again.latents)
    assert (drawn.latents - other.latents).abs().max() > 0.1


def test_preserving_the_class_keeps_its_pictures_while_the_object_is_learnt(
    velocity_folder: Path, clean: Tensor
) -> None:
    """The class under its own words, which the object's training would change as well."""
    model = StableDiffusion.load(velocity_folder)
    drawn = class_pictures(model, 0)
    forgotten, losses = [], []
    for preserve in (None, drawn):
        adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, preserve=preserve)
        losses.append(train(adapted, clean, 20))
        adapted.words = StableDiffusionGuidance(model, drawn.prompt, 1.0).words
        forgotten.append(error(adapted, drawn.latents, drawn.cameras))
    assert losses[0][0] < losses[1][0]
    assert forgotten[1] < 0.9 * forgotten[0]


def test_the_object_is_learnt_under_its_words_and_the_class_under_its_own_without_a_camera(
    model: StableDiffusion, clean: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = class_pictures(model, 0)
    adapted = AdaptedStableDiffusion(model, PROMPT, 1.0, preserve=drawn)
    asked: list[tuple[Tensor, Tensor]] = []
    answer = AdaptedStableDiffusion._answer

    def noted(self: AdaptedStableDiffusion, noisy: Tensor, steps: Tensor, words: Words, camera: Tensor) -> Tensor:
        asked.append((words.tokens, camera))
        return answer(self, noisy, steps, words, camera)

    monkeypatch.setattr(AdaptedStableDiffusion, "_answer", noted)
    adapted.loss(clean[:1], Cameras.at(180.0), torch.Generator().manual_seed(0))
    views = ("front view", "back view")  # the two class pictures are seen from there
    of_object, *of_class = model.encode_words(
        [f"{PROMPT}, back view", *(f"{drawn.prompt}, {view}" for view in views)]
    ).tokens[:3]
    (first, camera), (second, nowhere) = asked
    torch.testing.assert_close(first[0], of_object)
    torch.testing.assert_close(camera[0], Cameras.at(180.0).c2w.flatten())
    assert any(torch.allclose(second[0], each, atol=1e-5) for each in of_class)
    assert not nowhere.any()


# together


@BOTH
def test_bootstrapped_distillation_takes_the_two_copies(
    model: StableDiffusion, clean: Tensor, rank: int | None
) -> None:
    dreambooth = AdaptedStableDiffusion(model, PROMPT, 2.0, rank)
    follower = AdaptedStableDiffusion(model, "a mushroom", 1.0, lora_rank=2)
    train(dreambooth, clean, 3)
    pictures = torch.rand(2, PICTURE_SIZE, PICTURE_SIZE, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    bsd_loss(pictures, dreambooth, follower, CAMERAS, TIMESTEPS, generator).backward()
    assert pictures.grad is not None
    assert pictures.grad.isfinite().all()
    assert pictures.grad.abs().max() > 0
    assert all(p.grad is None or not p.grad.any() for p in follower.parameters)


def test_copies_do_not_share_what_they_train(model: StableDiffusion) -> None:
    one = AdaptedStableDiffusion(model, PROMPT, 1.0)
    before = copy.deepcopy(one.state_dict())
    other = AdaptedStableDiffusion(model, PROMPT, 1.0)
    with torch.no_grad():
        other.parameters[0].add_(1)
    assert all(torch.equal(before[name], value) for name, value in one.state_dict().items())
