"""Stable Diffusion as a prior, on tiny models of its very classes and folder layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler
from tiny_pictures import LATENT_SIZE, PICTURE_SIZE, save_marigold, save_stable_diffusion, save_stable_diffusion_xl
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.adapted_stable_diffusion import AdaptedStableDiffusion
from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.priors.stable_diffusion import StableDiffusion, StableDiffusionGuidance
from dreamcraft3d.render.camera import Cameras

PROMPT = "a mushroom"
TIMESTEPS = torch.tensor([150, 900])
SAVERS: dict[str, Callable[[Path], None]] = {
    "epsilon": save_stable_diffusion,
    "v_prediction": lambda folder: save_stable_diffusion(folder, "v_prediction"),
    "xl": save_stable_diffusion_xl,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each kind."""
    made = {kind: tmp_path_factory.mktemp(kind) for kind in SAVERS}
    for kind, save in SAVERS.items():
        save(made[kind])
    return made


@pytest.fixture(params=list(SAVERS))
def model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> StableDiffusion:
    """Each kind in turn."""
    return StableDiffusion.load(folders[request.param])


@pytest.fixture
def noisy(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 4, LATENT_SIZE, LATENT_SIZE, generator=generator)


def pictures(size: int = PICTURE_SIZE) -> Tensor:
    return torch.rand(2, size, size, 3, generator=torch.Generator().manual_seed(1))


# what it predicts


def test_drawing_with_it_is_drawing_with_its_own_pipeline(model: StableDiffusion, noisy: Tensor) -> None:
    """Which has its own guidance, velocities, sizes and schedule."""
    cameras = Cameras.at([0, 10])
    ours = restore(StableDiffusionGuidance(model, PROMPT, 5.0), noisy, cameras, steps=5)
    pipeline = model.pipeline
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True, steps_offset=0
    )
    theirs = pipeline(
        [f"{PROMPT}, front view"] * 2, num_inference_steps=5, guidance_scale=5.0, latents=noisy, output_type="latent"
    ).images
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    shown = pipeline.image_processor.postprocess(
        pipeline.vae.decode(theirs / pipeline.vae.config.scaling_factor)[0].detach(), output_type="pt"
    )
    torch.testing.assert_close(model.decode(ours), shown.permute(0, 2, 3, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_noise_of_a_constant_answer_is_that_of_its_formula(
    kind: str, folders: dict[str, Path], noisy: Tensor
) -> None:
    model = StableDiffusion.load(folders[kind])
    model.unet.conv_out.weight.zero_()
    model.unet.conv_out.bias.fill_(0.5)
    found = StableDiffusionGuidance(model, PROMPT, 7.5).predict_noise(noisy, TIMESTEPS, Cameras.at([0, 90]))
    alpha = model.alphas_cumprod[TIMESTEPS][:, None, None, None]
    velocity = 0.5 * alpha.sqrt() + (1 - alpha).sqrt() * noisy
    torch.testing.assert_close(found, torch.full_like(noisy, 0.5) if kind == "epsilon" else velocity)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_target_is_what_gives_the_noise_back(kind: str, folders: dict[str, Path], noisy: Tensor) -> None:
    model = StableDiffusion.load(folders[kind])
    clean, noise = noisy, noisy.flip(0)
    mixed = model.scheduler.add_noise(clean, noise, TIMESTEPS)
    target = model.target(clean, noise, TIMESTEPS)
    torch.testing.assert_close(model.as_noise(target, mixed, TIMESTEPS), noise, atol=1e-5, rtol=1e-5)


def test_restoring_starts_at_its_noise_level(folders: dict[str, Path], noisy: Tensor) -> None:
    """Without any predicted noise, what is left of x_t is x_t / sqrt(alphabar_t)."""
    model = StableDiffusion.load(folders["epsilon"])
    model.unet.conv_out.weight.zero_()
    model.unet.conv_out.bias.zero_()
    guidance = StableDiffusionGuidance(model, PROMPT, 7.5)
    restored = restore(guidance, noisy, Cameras.at([0, 90]), start=0.4, steps=25)
    torch.testing.assert_close(restored, noisy / model.alphas_cumprod[399].sqrt(), atol=1e-4, rtol=1e-4)


def test_restoring_from_little_noise_changes_little(model: StableDiffusion) -> None:
    guidance = StableDiffusionGuidance(model, PROMPT, 7.5)
    clean, cameras = guidance.encode(pictures()).detach(), Cameras.at([0, 90])
    changes = [
        (restore(guidance, noised(guidance, clean, level, torch.Generator().manual_seed(0)), cameras, level) - clean)
        .square()
        .mean()
        for level in (0.04, 0.4)
    ]
    assert changes[0] < 0.1 * changes[1]


def test_the_camera_is_known_by_its_view_words_alone(model: StableDiffusion, noisy: Tensor) -> None:
    guidance = StableDiffusionGuidance(model, PROMPT, 4.0)
    one, other = (
        guidance.predict_noise(noisy, TIMESTEPS, Cameras.at(a, e)) for a, e in (([5, 20], 3), ([-30, 40], 40))
    )
    torch.testing.assert_close(one, other)
    back = guidance.predict_noise(noisy, TIMESTEPS, Cameras.at([180, 180]))
    assert (back - one).abs().max() > 1e-4


def test_a_negative_prompt_takes_the_place_of_no_words(model: StableDiffusion, noisy: Tensor) -> None:
    """u + s (c - u), with the negative words' prediction for u."""
    cameras, negative = Cameras.at([0, 180]), "a blue chair"
    words = model.encode_words([f"{PROMPT}, front view", f"{PROMPT}, back view"])[[0, 1]]
    unwanted = model.encode_words([negative])[[0, 0]]
    c, u = (
        model.as_noise(model.predict(model.wear(), noisy, TIMESTEPS, asked), noisy, TIMESTEPS)
        for asked in (words, unwanted)
    )
    found = StableDiffusionGuidance(model, PROMPT, 5.0, negative).predict_noise(noisy, TIMESTEPS, cameras)
    torch.testing.assert_close(found, u + 5 * (c - u), atol=1e-4, rtol=0)
    adapted = AdaptedStableDiffusion(model, PROMPT, 5.0, camera=False, negative=negative)
    torch.testing.assert_close(adapted.predict_noise(noisy, TIMESTEPS, cameras), found, atol=1e-4, rtol=0)


def test_a_batch_is_predicted_as_its_parts_and_without_gradient(model: StableDiffusion, noisy: Tensor) -> None:
    guidance = StableDiffusionGuidance(model, PROMPT, 3.0)
    cameras = Cameras.at([0, 120], [0, 30])
    together = guidance.predict_noise(noisy.clone().requires_grad_(), TIMESTEPS, cameras)
    assert not together.requires_grad
    for i in range(2):
        alone = guidance.predict_noise(noisy[[i]], TIMESTEPS[[i]], cameras[[i]])
        torch.testing.assert_close(together[[i]], alone, atol=1e-4, rtol=1e-4)


def test_guidance_goes_from_the_unconditional_through_the_conditional_and_beyond() -> None:
    nothing, words = torch.tensor([1.0]), torch.tensor([3.0])
    assert [classifier_free(nothing, words, scale).item() for scale in (0, 1, 7.5)] == [1, 3, 16]


# pictures to latents


def test_pictures_are_encoded_as_the_autoencoder_was_trained(model: StableDiffusion) -> None:
    expected = model.vae.encode(2 * pictures().permute(0, 3, 1, 2) - 1).latent_dist.mode()
    torch.testing.assert_close(model.encode(pictures()), expected * model.vae.config.scaling_factor)


def test_pictures_of_any_size_are_brought_to_the_models(folders: dict[str, Path]) -> None:
    model = StableDiffusion.load(folders["epsilon"])
    for size in (12, 48):
        assert model.encode(pictures(size)).shape == (2, 4, LATENT_SIZE, LATENT_SIZE)
    grey = torch.full((1, 1, 1, 3), 0.5)
    small, large = (model.encode(grey.expand(1, size, size, 3)) for size in (PICTURE_SIZE, 64))
    torch.testing.assert_close(small, large)


def test_the_gradient_of_encoding_is_that_of_a_small_step(folders: dict[str, Path]) -> None:
    model = StableDiffusion.load(folders["epsilon"])
    model.vae.double()
    picture = pictures(32).double().requires_grad_()
    loss = model.encode(picture).square().sum()
    loss.backward()
    step = 1e-3 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(2))
    changed = model.encode(picture + step).square().sum() - model.encode(picture - step).square().sum()
    assert picture.grad is not None
    assert (2 * picture.grad * step).sum().item() == pytest.approx(changed.item(), rel=0.02)


# folders


def test_a_model_is_whole_without_its_safety_checker(folders: dict[str, Path], tmp_path: Path) -> None:
    """Hubs name one in the index; it is neither asked for nor loaded."""
    folder = tmp_path / "model"
    shutil.copytree(folders["epsilon"], folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["requires_safety_checker"] = True
    (folder / "model_index.json").write_text(json.dumps(index))
    assert StableDiffusion.load(folder).pipeline.safety_checker is None


def test_weights_in_half_precision_alone_will_do(folders: dict[str, Path], tmp_path: Path, noisy: Tensor) -> None:
    whole = StableDiffusion.load(folders["epsilon"])
    whole.pipeline.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    assert not list(tmp_path.glob("half/unet/*model.safetensors"))
    half = StableDiffusion.load(tmp_path / "half")
    assert half.dtype == torch.float32
    found, expected = (
        StableDiffusionGuidance(m, PROMPT, 3.0).predict_noise(noisy, TIMESTEPS, Cameras.at([0, 90]))
        for m in (half, StableDiffusion.load(folders["epsilon"]))
    )
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_in_bfloat16_it_takes_and_gives_single_precision(model: StableDiffusion, noisy: Tensor) -> None:
    cameras = Cameras.at([0, 90])
    expected = StableDiffusionGuidance(model, PROMPT, 3.0).predict_noise(noisy, TIMESTEPS, cameras)
    latents = model.encode(pictures())
    half = StableDiffusion(model.pipeline.to(torch.bfloat16))
    found = StableDiffusionGuidance(half, PROMPT, 3.0).predict_noise(noisy, TIMESTEPS, cameras)
    assert half.dtype == torch.bfloat16
    assert found.dtype == half.encode(pictures()).dtype == torch.float32
    assert (found - expected).norm() < 0.05 * expected.norm()
    assert (half.encode(pictures()) - latents).norm() < 0.05 * latents.norm()


def test_sdxls_autoencoder_stays_in_single_precision_where_it_would_overflow(folders: dict[str, Path]) -> None:
    types = {
        (kind, dtype): StableDiffusion.load(folders[kind], dtype=dtype).vae.dtype
        for kind in ("xl", "epsilon")
        for dtype in (torch.float16, torch.bfloat16)
    }
    assert types[("xl", torch.float16)] == torch.float32
    assert types[("xl", torch.bfloat16)] == torch.bfloat16
    assert types[("epsilon", torch.float16)] == torch.float16


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no model folder .*nowhere"):
        StableDiffusion.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("part", "lacks"),
    [
        ("unet", "safetensors"),
        ("vae", "safetensors"),
        ("text_encoder_2", "safetensors"),
        ("tokenizer", "tokenizer_config"),
        ("scheduler", "scheduler_config"),
    ],
)
def test_a_missing_part_is_named(part: str, lacks: str, folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["xl"], tmp_path / "model")
    for file in (tmp_path / "model" / part).glob(f"*{lacks}*"):
        file.unlink()
    with pytest.raises(UserError, match=rf"incomplete: it lacks {part}/\S*{lacks}"):
        StableDiffusion.load(tmp_path / "model")


def test_a_broken_part_gives_a_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["epsilon"], tmp_path / "model")
    (tmp_path / "model/unet/diffusion_pytorch_model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="cannot be read"):
        StableDiffusion.load(tmp_path / "model")


def test_other_kinds_of_models_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    save_marigold(tmp_path / "marigold", "depth")
    with pytest.raises(UserError, match="marigold holds no Stable Diffusion model"):
        StableDiffusion.load(tmp_path / "marigold")
    save_stable_diffusion(tmp_path / "sample", "sample")
    with pytest.raises(UserError, match='predicts "sample"'):
        StableDiffusion.load(tmp_path / "sample")
