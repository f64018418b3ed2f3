"""The prior that ships in the package, the guidance made of it, and what it becomes when adapted to one object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import trimesh
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from dreamcraft3d.priors.adapted import AdaptedGuidance
from dreamcraft3d.priors.embedded import (
    CAMERA_FEATURES,
    VIEW_WORDS,
    EmbeddedPrior,
    FrontGuidance,
    ReferenceGuidance,
    WordsGuidance,
    camera_features,
    make_unet,
)
from dreamcraft3d.priors.latents import PatchLatents
from dreamcraft3d.priors.words import REFERENCE_VIEW
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.mesh import Mesh

TIMESTEPS = torch.tensor([150, 600])


@pytest.fixture(scope="session")
def small(prior: EmbeddedPrior) -> EmbeddedPrior:
    """The same of a tenth of the size and untrained: what must hold whatever the weights are is quicker seen on it."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(
        make_unet().config,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return EmbeddedPrior(prior.latents, prior.tokenizer, prior.text_encoder, unet).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def ball_picture() -> Tensor:
    """(1, 128, 128, 3) a red ball on white."""
    ball = trimesh.creation.icosphere(3, 0.5)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32)
    colours = torch.tensor([0.8, 0.2, 0.15]).expand_as(vertices)
    return render_mesh(Mesh(vertices, torch.tensor(ball.faces), colours), Cameras.at(0.0), 128).rgb


@pytest.fixture
def noisy(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 48, 16, 16, generator=generator)


def random_pictures(count: int, size: int = 128) -> Tensor:
    """Smooth random colours."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    return nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


# latents


def test_encoding_is_affine_and_decoding_its_right_inverse(prior: EmbeddedPrior) -> None:
    x, y = random_pictures(2).split(1)
    encode, decode = prior.latents.encode, prior.latents.decode
    torch.testing.assert_close(encode(0.3 * x + 0.7 * y), 0.3 * encode(x) + 0.7 * encode(y), atol=1e-4, rtol=0)
    torch.testing.assert_close(encode(decode(encode(x))), encode(x), atol=1e-4, rtol=0)


def test_latents_lose_little_of_a_picture(prior: EmbeddedPrior, ball_picture: Tensor) -> None:
    for picture, at_least in ((random_pictures(1), 38), (ball_picture, 28)):
        assert psnr(prior.latents.decode(prior.latents.encode(picture)), picture) > at_least


def test_pictures_of_any_size_are_encoded_alike(prior: EmbeddedPrior) -> None:
    for size in (48, 256):
        other = prior.latents.encode(random_pictures(1, size))
        assert other.shape == (1, 48, 16, 16)
        assert psnr(prior.latents.decode(other), random_pictures(1)) > 30


def test_the_gradient_of_encoding_is_exact(prior: EmbeddedPrior) -> None:
    picture = random_pictures(1).requires_grad_()
    upstream = torch.randn(1, 48, 16, 16, generator=torch.Generator().manual_seed(0))
    (prior.latents.encode(picture) * upstream).sum().backward()
    step = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    change = ((prior.latents.encode(picture + step) - prior.latents.encode(picture)) * upstream).sum()
    assert picture.grad is not None
    assert (picture.grad * step).sum().item() == pytest.approx(change.item(), rel=1e-3)


def test_fitted_latents_have_unit_variance_on_average_and_no_mean() -> None:
    latents = PatchLatents.fit(torch.rand(64, 32, 32, 3, generator=torch.Generator().manual_seed(0)), 24, 4)
    encoded = latents.encode(torch.rand(64, 32, 32, 3, generator=torch.Generator().manual_seed(0)))
    assert encoded.shape == (64, 24, 8, 8)
    assert encoded.var(dim=(0, 2, 3)).mean().item() == pytest.approx(1, rel=0.02)
    assert encoded.mean(dim=(0, 2, 3)).abs().max() < 0.01


def test_saved_latents_come_back_whole(tmp_path: Path) -> None:
    latents = PatchLatents.fit(random_pictures(8, 32), 6, 4)
    latents.save(tmp_path / "latents.safetensors")
    again = PatchLatents.load(tmp_path / "latents.safetensors")
    assert (again.size, again.patch) == (32, 4)
    torch.testing.assert_close(again.encode(random_pictures(2, 64)), latents.encode(random_pictures(2, 64)))


# the model


def test_predicted_noise_and_clean_latents_make_up_the_noisy_ones(small: EmbeddedPrior, noisy: Tensor) -> None:
    words, camera = small.encode_words(["a red ball, front view", ""]), torch.zeros(2, CAMERA_FEATURES)
    clean, noise = (f(noisy, TIMESTEPS, words, camera) for f in (small.predict_clean, small.predict_noise))
    alpha = small.alphas_cumprod[TIMESTEPS][:, None, None, None]
    torch.testing.assert_close(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, noisy, atol=1e-4, rtol=0)


def test_the_schedule_falls_from_nearly_all_to_nearly_no_signal(prior: EmbeddedPrior) -> None:
    alphas = prior.alphas_cumprod
    assert (alphas.diff() <= 0).all()
    assert alphas[0] > 0.99
    assert 0 < alphas[-1] <= 1e-5


def test_denoising_comes_nearer_to_the_picture_than_its_noise(prior: EmbeddedPrior, ball_picture: Tensor) -> None:
    clean = prior.latents.encode(ball_picture)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([400])
    noisy = prior.scheduler.add_noise(clean, noise, timesteps)
    words = prior.encode_words([f"a red ball, {REFERENCE_VIEW}"])
    predicted = prior.predict_clean(noisy, timesteps, words, torch.zeros(1, CAMERA_FEATURES))
    assert (predicted - clean).square().mean() < 0.7 * (noisy - clean).square().mean()


def test_the_loss_weighs_latents_as_the_pictures_do() -> None:
    latents = PatchLatents.fit(random_pictures(8, 32), 192, 8)  # all components: nothing is lost
    a, b = random_pictures(2, 32), random_pictures(2, 32).flip(0)
    error = latents.pixel_weights * (latents.encode(a) - latents.encode(b)).square()
    mean_weight = (1 / latents.scale.square()).mean()
    torch.testing.assert_close(error.mean() * mean_weight, (2 * (a - b)).square().mean(), rtol=1e-3, atol=0)


def test_the_training_loss_follows_its_generator(small: EmbeddedPrior) -> None:
    clean = small.latents.encode(random_pictures(4))
    words, camera = small.encode_words(["a red ball"] * 4), torch.zeros(4, CAMERA_FEATURES)
    first, again, other = (
        small.denoising_loss(clean, words, camera, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_saved_in_half_precision_it_predicts_nearly_the_same(
    prior: EmbeddedPrior, noisy: Tensor, tmp_path: Path
) -> None:
    half = EmbeddedPrior.load()
    half.unet.half()
    half.text_encoder.half()
    half.sketch.half()
    half.save(tmp_path)
    again = EmbeddedPrior.load(tmp_path)
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    texts = ["a red ball, side view", ""]
    found, expected = (
        p.predict_clean(noisy, TIMESTEPS, p.encode_words(texts), torch.zeros(2, CAMERA_FEATURES))
        for p in (again, prior)
    )
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_camera_features_tell_every_direction_apart_and_wrap_around() -> None:
    turn = camera_features(torch.arange(0.0, 361, 15), torch.zeros(25), with_reference=True)
    assert torch.pdist(turn[:-1]).min() > 0.1
    torch.testing.assert_close(turn[0], turn[-1], atol=1e-5, rtol=0)
    assert (turn[:, 0] > 0).all()
    assert camera_features(torch.zeros(1), torch.zeros(1), with_reference=False)[0, 0] == 0


# the 2D use


def test_words_guidance_knows_the_camera_by_its_view_words_alone(small: EmbeddedPrior, noisy: Tensor) -> None:
    guidance = WordsGuidance(small, "a red car", 4.0)
    one, other = (
        guidance.predict_noise(noisy, TIMESTEPS, Cameras.at(a, e)) for a, e in (([5, 20], 3), ([-30, 40], 40))
    )
    torch.testing.assert_close(one, other)
    back = guidance.predict_noise(noisy, TIMESTEPS, Cameras.at([180, 180]))
    assert (back - one).abs().max() > 1e-3


def test_guidance_at_scale_one_is_the_conditional_and_at_nought_the_unconditional(
    small: EmbeddedPrior, noisy: Tensor
) -> None:
    cameras, camera = Cameras.at([0, 180]), torch.zeros(2, CAMERA_FEATURES)
    at = [
        WordsGuidance(small, "a red car", scale).predict_noise(noisy, TIMESTEPS, cameras) for scale in (0.0, 1.0, 3.0)
    ]
    texts = ["a red car, front view", "a red car, back view"]
    torch.testing.assert_close(at[1], small.predict_noise(noisy, TIMESTEPS, small.encode_words(texts), camera))
    torch.testing.assert_close(at[0], small.predict_noise(noisy, TIMESTEPS, small.encode_words(["", ""]), camera))
    torch.testing.assert_close(at[2], at[0] + 3 * (at[1] - at[0]), atol=1e-4, rtol=0)


def test_a_negative_prompt_takes_the_place_of_no_words(small: EmbeddedPrior, noisy: Tensor) -> None:
    """u + s (c - u), with the negative words' prediction for u; at scale 1 it does not count."""
    cameras, camera = Cameras.at([0, 180]), torch.zeros(2, CAMERA_FEATURES)
    wanted, unwanted = (
        small.predict_noise(noisy, TIMESTEPS, small.encode_words(texts), camera)
        for texts in (["a red car, front view", "a red car, back view"], ["a blue car"] * 2)
    )
    for scale in (1.0, 4.0):
        found = WordsGuidance(small, "a red car", scale, "a blue car").predict_noise(noisy, TIMESTEPS, cameras)
        torch.testing.assert_close(found, unwanted + scale * (wanted - unwanted), atol=1e-4, rtol=0)
    adapted = AdaptedGuidance(small, "a red car", 4.0, camera=False, negative="a blue car")
    torch.testing.assert_close(adapted.predict_noise(noisy, TIMESTEPS, cameras), found, atol=1e-4, rtol=0)


def test_the_front_guidance_always_sees_the_exact_front(small: EmbeddedPrior, noisy: Tensor) -> None:
    guidance = FrontGuidance(small, "a red car", 1.0)
    found = guidance.predict_noise(noisy, TIMESTEPS, Cameras.at([90, 180]))
    words = small.encode_words([f"a red car, {REFERENCE_VIEW}"] * 2)
    torch.testing.assert_close(found, small.predict_noise(noisy, TIMESTEPS, words, torch.zeros(2, CAMERA_FEATURES)))


# the 3D use


def test_reference_guidance_follows_the_camera_and_the_picture(
    small: EmbeddedPrior, noisy: Tensor, ball_picture: Tensor
) -> None:
    guidance = ReferenceGuidance(small, ball_picture, 2.0)
    front, side = (guidance.predict_noise(noisy, TIMESTEPS, Cameras.at([a, a])) for a in (0, 90))
    assert (front - side).abs().max() > 1e-3
    other = ReferenceGuidance(small, random_pictures(1), 2.0).predict_noise(noisy, TIMESTEPS, Cameras.at([0, 0]))
    assert (front - other).abs().max() > 1e-3


def test_reference_guidance_at_scale_one_is_the_conditional(
    small: EmbeddedPrior, noisy: Tensor, ball_picture: Tensor
) -> None:
    found = ReferenceGuidance(small, ball_picture, 1.0).predict_noise(noisy, TIMESTEPS, Cameras.at([40, -90], 20))
    camera = camera_features(torch.tensor([40.0, -90.0]), torch.tensor([20.0, 20.0]), with_reference=True)
    reference = small.latents.encode(ball_picture).expand(2, -1, -1, -1)
    words = small.encode_words(["", ""])
    torch.testing.assert_close(found, small.predict_noise(noisy, TIMESTEPS, words, camera, reference))


# both, and adapted ones


GUIDANCES: list[Callable[[EmbeddedPrior, Tensor], WordsGuidance | ReferenceGuidance | AdaptedGuidance]] = [
    lambda prior, picture: WordsGuidance(prior, "a red car", 3.0),
    lambda prior, picture: ReferenceGuidance(prior, picture, 3.0),
    lambda prior, picture: AdaptedGuidance(prior, "a [v] red car", 3.0),
    lambda prior, picture: AdaptedGuidance(prior, "a red car", 1.0, lora_rank=4),
]


@pytest.mark.parametrize("make", GUIDANCES, ids=["words", "reference", "dreambooth", "lora"])
def test_a_batch_is_predicted_as_its_parts_and_without_gradient(
    make: Callable[[EmbeddedPrior, Tensor], WordsGuidance], small: EmbeddedPrior, noisy: Tensor, ball_picture: Tensor
) -> None:
    guidance = make(small, ball_picture)
    cameras = Cameras.at([0, 120], [0, 30])
    together = guidance.predict_noise(noisy.clone().requires_grad_(), TIMESTEPS, cameras)
    assert not together.requires_grad
    for i in range(2):
        alone = guidance.predict_noise(noisy[[i]], TIMESTEPS[[i]], cameras[[i]])
        torch.testing.assert_close(together[[i]], alone, atol=1e-4, rtol=1e-4)


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def train(guidance: AdaptedGuidance, clean: Tensor, steps: int) -> list[float]:
    """Losses on the same noise, step by step."""
    optimizer = torch.optim.AdamW(guidance.parameters, lr=1e-3)
    losses = []
    for _ in range(steps):
        loss = guidance.loss(clean, Cameras.at([0, 90]), torch.Generator().manual_seed(0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("rank", [None, 4])
def test_an_adapted_prior_begins_as_the_base(small: EmbeddedPrior, noisy: Tensor, rank: int | None) -> None:
    cameras = Cameras.at([10, 170])
    found = AdaptedGuidance(small, "a red car", 1.0, rank).predict_noise(noisy, TIMESTEPS, cameras)
    camera = camera_features(cameras.azimuth, cameras.elevation, with_reference=False)
    words = small.encode_words(["a red car, front view", "a red car, back view"])
    torch.testing.assert_close(found, small.predict_noise(noisy, TIMESTEPS, words, camera), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank", [None, 4])
def test_training_a_copy_lowers_its_loss_and_leaves_the_base_alone(
    small: EmbeddedPrior, noisy: Tensor, rank: int | None
) -> None:
    before = weights_of(small)
    guidance = AdaptedGuidance(small, "a [v] red car", 1.0, rank)
    losses = train(guidance, small.latents.encode(random_pictures(2)), 6)
    assert losses[-1] < losses[0]
    after = weights_of(small)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(p.requires_grad for p in small.parameters())


def test_a_lora_trains_a_small_share_and_the_camera(small: EmbeddedPrior) -> None:
    lora = AdaptedGuidance(small, "a red car", 1.0, lora_rank=4)
    names = set(lora.state_dict())
    assert all("lora_" in name or "class_embedding" in name for name in names)
    assert any("lora_" in name for name in names)
    assert any("class_embedding" in name for name in names)
    assert sum(p.numel() for p in lora.parameters) < 0.1 * sum(p.numel() for p in small.unet.parameters())


def test_every_lora_begins_the_same(small: EmbeddedPrior) -> None:
    """Or a run could not be repeated."""
    first, second = (AdaptedGuidance(small, "a red car", 1.0, lora_rank=4).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(first[name].any() for name in first if "lora_A" in name)


@pytest.mark.parametrize("rank", [None, 4])
def test_an_adapted_prior_goes_on_from_its_saved_weights(small: EmbeddedPrior, noisy: Tensor, rank: int | None) -> None:
    trained = AdaptedGuidance(small, "a [v] red car", 1.0, rank)
    train(trained, small.latents.encode(random_pictures(2)), 2)
    again = AdaptedGuidance(small, "a [v] red car", 1.0, rank)
    again.load_state_dict({name: value.clone() for name, value in trained.state_dict().items()})
    cameras = Cameras.at([10, 170])
    found, expected = (g.predict_noise(noisy, TIMESTEPS, cameras) for g in (again, trained))
    torch.testing.assert_close(found, expected)


def test_an_adapted_prior_sees_the_camera_within_one_view_word(small: EmbeddedPrior, noisy: Tensor) -> None:
    guidance = AdaptedGuidance(small, "a [v] red car", 1.0)
    one, other = (guidance.predict_noise(noisy, TIMESTEPS, Cameras.at([a, a])) for a in (0, 40))
    assert (one - other).abs().max() > 1e-4


def test_the_identifier_and_every_view_word_are_known(prior: EmbeddedPrior) -> None:
    unknown = prior.tokenizer.unk_token_id
    for text in (*VIEW_WORDS, REFERENCE_VIEW, "a [v] normal map of"):
        assert unknown not in prior.tokenizer(text).input_ids
