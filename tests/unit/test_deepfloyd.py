"""DeepFloyd IF as a prior: what goes into its UNet and what becomes of what comes out."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tiny_models import TEXT_WIDTH, save_deepfloyd
from torch import Tensor

from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.errors import UserError
from dreamcraft3d.priors import deepfloyd
from dreamcraft3d.priors.deepfloyd import VIEWS, DeepFloyd, DeepFloydGuidance, encode_prompt
from dreamcraft3d.priors.guided import classifier_free, perp_neg, perp_neg_weights, view_shares
from dreamcraft3d.render.camera import Cameras

TIMESTEPS = torch.tensor([150, 600])
CAMERAS = Cameras.at([20.0, 160.0], 10.0)


@pytest.fixture(scope="session")
def saved_if(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_deepfloyd(tmp_path_factory.mktemp("deepfloyd"))


@pytest.fixture
def folder(saved_if: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(saved_if, tmp_path / "if"))


@pytest.fixture(scope="session")
def model(saved_if: Path) -> DeepFloyd:
    return DeepFloyd.load(saved_if, torch.float32, "cpu")


@pytest.fixture(scope="session")
def words() -> dict[str, Tensor]:
    """Random features for each view, and for no words."""
    generator = torch.Generator().manual_seed(3)
    return {view: torch.randn(77, TEXT_WIDTH, generator=generator) for view in (*VIEWS, "")}


@pytest.fixture
def noisy(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=generator)


@pytest.fixture
def heard(model: DeepFloyd, monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The word features of each pass."""
    passes = []
    predict = DeepFloyd.predict_noise

    def watched(self: DeepFloyd, noisy: Tensor, timesteps: Tensor, words: list[Tensor]) -> list[Tensor]:
        passes.append(words)
        return predict(self, noisy, timesteps, words)

    monkeypatch.setattr(DeepFloyd, "predict_noise", watched)
    return passes


def noise_of(model: DeepFloyd, noisy: Tensor, words: Tensor) -> Tensor:
    """(B, 3, 64, 64) straight from the UNet."""
    with torch.no_grad():
        return model.unet(noisy, TIMESTEPS, words.expand(len(noisy), -1, -1)).sample[:, :3]


# encoding


def test_pictures_become_64_px_between_minus_one_and_one(model: DeepFloyd, words: dict) -> None:
    pictures = torch.rand(2, 128, 128, 3)
    blocks = pictures.reshape(2, 64, 2, 64, 2, 3).mean(dim=(2, 4))  # bilinear at half the size is the mean of four
    encoded = DeepFloydGuidance(model, words).encode(pictures)
    torch.testing.assert_close(encoded, blocks.permute(0, 3, 1, 2) * 2 - 1)


def test_small_pictures_are_enlarged_bilinearly(model: DeepFloyd, words: dict) -> None:
    ramp = torch.linspace(0, 1, 32)[None, None, :, None].expand(1, 32, 32, 3)
    row = DeepFloydGuidance(model, words).encode(ramp)[0, 0, 0]
    steps = row.diff()
    torch.testing.assert_close(steps[1:-1], torch.full((61,), 1 / 31), atol=1e-5, rtol=0)


def test_a_distillation_step_moves_every_pixel(model: DeepFloyd, words: dict, generator: torch.Generator) -> None:
    pictures = torch.rand(2, 64, 64, 3, requires_grad=True)
    sds_loss(pictures, DeepFloydGuidance(model, words), CAMERAS, TIMESTEPS, generator).backward()
    assert pictures.grad.abs().min() > 0
    assert all(weight.grad is None for weight in model.unet.parameters())


# predictions


def test_noise_is_the_first_three_channels_and_the_variance_has_no_say(
    saved_if: Path, model: DeepFloyd, words: dict, noisy: Tensor
) -> None:
    def predict(model: DeepFloyd) -> Tensor:
        return DeepFloydGuidance(model, words, 1.0, use_perp_neg=False).predict_noise(noisy, TIMESTEPS, CAMERAS)

    shifted = DeepFloyd.load(saved_if, torch.float32, "cpu")
    shifted.unet.conv_out.bias[3:] += 5
    torch.testing.assert_close(predict(shifted), predict(model), atol=1e-4, rtol=0)
    shifted.unet.conv_out.bias[:3] += 5
    torch.testing.assert_close(predict(shifted), predict(model) + 5, atol=1e-4, rtol=0)


def test_plain_guidance_is_the_unconditional_plus_s_times_the_difference(
    model: DeepFloyd, words: dict, noisy: Tensor
) -> None:
    found = DeepFloydGuidance(model, words, 7.0, use_perp_neg=False).predict_noise(noisy, TIMESTEPS, CAMERAS)
    without = noise_of(model, noisy, words[""])
    wanted = torch.cat([noise_of(model, noisy, words[view])[i : i + 1] for i, view in enumerate(VIEWS[0::2])])
    torch.testing.assert_close(found, without + 7 * (wanted - without), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "threshold", "view"),
    [
        (0, 0, 45, "front view"),
        (44, 0, 45, "front view"),
        (-44, 0, 45, "front view"),
        (46, 0, 45, "side view"),
        (136, 0, 45, "back view"),
        (-136, 0, 45, "back view"),
        (0, 61, 45, "overhead view"),
        (40, 0, 30, "side view"),
        (145, 0, 30, "side view"),
    ],
)
def test_words_follow_the_camera(
    model: DeepFloyd, words: dict, heard: list, noisy: Tensor, azimuth: int, elevation: int, threshold: int, view: str
) -> None:
    guidance = DeepFloydGuidance(model, words, use_perp_neg=False, view_threshold=threshold)
    guidance.predict_noise(noisy[:1], TIMESTEPS[:1], Cameras.at(float(azimuth), float(elevation)))
    assert torch.equal(heard[0][0][0], words[""])
    assert torch.equal(heard[0][1][0], words[view])


@pytest.mark.parametrize(
    ("azimuth", "shares"),
    [
        (0, (1, 0, 0)),
        (30, (2 / 3, 1 / 3, 0)),
        (-90, (0, 1, 0)),
        (135, (0, 0.5, 0.5)),
        (180, (0, 0, 1)),
        (200, (0, 2 / 9, 7 / 9)),
    ],
)
def test_perp_neg_hears_words_between_the_views(
    model: DeepFloyd, words: dict, heard: list, noisy: Tensor, azimuth: int, shares: tuple
) -> None:
    DeepFloydGuidance(model, words).predict_noise(noisy[:1], TIMESTEPS[:1], Cameras.at(float(azimuth)))
    without, blended, front, side = heard[0]
    expected = sum(share * words[view] for share, view in zip(shares, VIEWS[:3], strict=True))
    torch.testing.assert_close(blended[0], expected, atol=1e-5, rtol=0)
    assert torch.equal(without[0], words[""])
    assert torch.equal(front[0], words["front view"])
    assert torch.equal(side[0], words["side view"])


def test_perp_neg_is_its_formula_on_the_unets_predictions(model: DeepFloyd, words: dict, noisy: Tensor) -> None:
    found = DeepFloydGuidance(model, words, 20.0).predict_noise(noisy, TIMESTEPS, CAMERAS)
    without, front, side = (noise_of(model, noisy, words[view]) for view in ("", "front view", "side view"))
    for i, azimuth in enumerate(CAMERAS.azimuth):
        shares = view_shares(azimuth[None])[0]
        blended = sum(share * words[view] for share, view in zip(shares, VIEWS[:3], strict=True))
        wanted = (noise_of(model, noisy, blended) - without)[i]
        pushed = wanted.clone()
        for negative, weight in zip((front, side), perp_neg_weights(azimuth[None])[0], strict=True):
            other = (negative - without)[i]
            pushed += weight * (other - (other * wanted).sum() / wanted.square().sum() * wanted)
        torch.testing.assert_close(found[i], without[i] + 20 * pushed, atol=1e-3, rtol=1e-3)


def test_from_above_nothing_is_pushed_away(model: DeepFloyd, words: dict, noisy: Tensor) -> None:
    above = Cameras.at([20.0, 160.0], 70.0)
    with_perp_neg = DeepFloydGuidance(model, words, 20.0).predict_noise(noisy, TIMESTEPS, above)
    plain = DeepFloydGuidance(model, words, 20.0, use_perp_neg=False).predict_noise(noisy, TIMESTEPS, above)
    torch.testing.assert_close(with_perp_neg, plain, atol=1e-4, rtol=1e-4)


def test_half_precision_stays_inside(saved_if: Path, words: dict, noisy: Tensor, model: DeepFloyd) -> None:
    exact, rough = (
        DeepFloydGuidance(each, words, 1.0, use_perp_neg=False).predict_noise(
            noisy[:1], TIMESTEPS[:1], Cameras.at(20.0)
        )
        for each in (model, DeepFloyd.load(saved_if, torch.bfloat16, "cpu"))
    )
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)


def test_the_schedule_is_the_models_own(model: DeepFloyd, words: dict) -> None:
    """Squared cosine: alphabar_t = cos^2((t + 1) / 1000 + .008) / 1.008 pi / 2) over the same at 0."""
    alphas = DeepFloydGuidance(model, words).alphas_cumprod
    at = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in (0, 501)]
    assert alphas.shape == (1000,)
    assert float(alphas[500]) == pytest.approx(at[1] / at[0], abs=1e-4)


# the formulas by themselves


@pytest.mark.parametrize(
    ("azimuth", "front", "side"),
    [
        (0, 0.0, -1.574),
        (45, -0.6892, -0.6892),
        (-45, -0.6892, -0.6892),
        (90, -1.5735, -0.0005),
        (135, -1.7458, -0.1728),
        (180, -1.967, -0.394),
        (-180, -1.967, -0.394),
    ],
)
def test_perp_neg_weights_are_those_of_the_released_code(azimuth: int, front: float, side: float) -> None:
    weights = perp_neg_weights(torch.tensor([float(azimuth)]))
    torch.testing.assert_close(weights, torch.tensor([[front, side]]), atol=3e-4, rtol=0)


def test_what_the_positive_adds_too_is_not_pushed_away() -> None:
    without, positive = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    parallel = torch.stack([2 * positive, -positive], dim=1)
    found = perp_neg(without, positive, parallel, torch.full((2, 2), -1.5), 20.0)
    torch.testing.assert_close(found, 20 * positive, atol=1e-4, rtol=1e-4)


def test_scale_one_is_the_conditional_prediction() -> None:
    without, positive = torch.randn(2, 1, 3, 4, 4)
    torch.testing.assert_close(classifier_free(without, positive, 1.0), positive)


# loading


def test_a_prompt_is_encoded_in_lower_case_with_view_words(saved_if: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(model: Path, texts: list[str], *rest: object) -> dict[str, Tensor]:
        asked.extend(texts)
        return {text: torch.full((1,), float(i)) for i, text in enumerate(texts)}

    monkeypatch.setattr(deepfloyd, "text_embeddings", answer)
    found = encode_prompt(saved_if, "A Red Mushroom", torch.float32, "cpu")
    assert asked == [*(f"a red mushroom, {view}" for view in VIEWS), ""]
    assert [float(found[view]) for view in (*VIEWS, "")] == [0, 1, 2, 3, 4]
    encode_prompt(saved_if, "A Red Mushroom", torch.float32, "cpu", negative="Blue")
    assert asked[-1] == "blue"


def test_a_prompts_words_drive_the_model(saved_if: Path, model: DeepFloyd, noisy: Tensor, tmp_path: Path) -> None:
    found = []
    for prompt in ("a red mushroom", "a blue chair"):
        words = encode_prompt(saved_if, prompt, torch.float32, "cpu", cache=tmp_path)
        found.append(DeepFloydGuidance(model, words).predict_noise(noisy, TIMESTEPS, CAMERAS))
    assert not torch.allclose(found[0], found[1], atol=1e-3)


@pytest.mark.parametrize("part", ["safety_checker", "watermarker"])
def test_safety_checker_and_watermark_are_never_read(folder: Path, part: str) -> None:
    (folder / part).mkdir()
    (folder / part / "config.json").write_text("not to be read")
    index = {"_class_name": "IFPipeline", part: ["deepfloyd_if", "Nothing"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    assert isinstance(DeepFloyd.load(folder, torch.float32, "cpu").unet, UNet2DConditionModel)


@pytest.mark.parametrize(
    ("names", "dtype", "read"),
    [
        (["plain", "half"], torch.float32, "plain"),
        (["plain", "half"], torch.float16, "half"),
        (["plain"], torch.float16, "plain"),
        (["half"], torch.float32, "half"),
    ],
)
def test_half_precision_files_serve_half_precision_and_where_there_are_no_others(
    folder: Path, names: list[str], dtype: torch.dtype, read: str
) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: value.clone() for name, value in load_file(file).items()}
    file.unlink()
    for name, suffix, bias in (("plain", "", 1.0), ("half", ".fp16", 2.0)):
        if name in names:
            marked = weights | {"conv_out.bias": torch.full((6,), bias)}
            target = file.with_name(f"diffusion_pytorch_model{suffix}.safetensors")
            save_file(marked, target, metadata={"format": "pt"})
    loaded = DeepFloyd.load(folder, dtype, "cpu").unet
    assert loaded.dtype == dtype
    assert float(loaded.conv_out.bias[0]) == {"plain": 1.0, "half": 2.0}[read]


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("", "There is no model folder"),
        ("unet", "unet/config.json, unet/*.safetensors"),
        ("unet/diffusion_pytorch_model.safetensors", "unet/*.safetensors"),
        ("scheduler", "scheduler/scheduler_config.json"),
    ],
)
def test_what_is_missing_is_named(folder: Path, gone: str, named: str) -> None:
    path = folder / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(UserError) as caught:
        DeepFloyd.load(folder, torch.float32, "cpu")
    assert named in str(caught.value)


def test_weights_that_lack_some_are_refused_not_filled_with_noise(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: value.clone() for name, value in load_file(file).items() if name != "conv_out.bias"}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"incomplete: they lack conv_out\.bias"):
        DeepFloyd.load(folder, torch.float32, "cpu")


def test_a_file_cut_short_is_a_sentence(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(UserError, match="unet cannot be read"):
        DeepFloyd.load(folder, torch.float32, "cpu")


def test_another_stage_of_if_is_refused(folder: Path) -> None:
    config = dict(UNet2DConditionModel.load_config(folder / "unet")) | {"in_channels": 6}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    with pytest.raises(UserError, match="takes 6 channels and gives 6"):
        DeepFloyd.load(folder, torch.float32, "cpu")


def test_a_model_that_does_not_predict_noise_is_refused(folder: Path) -> None:
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prediction_type": "v_prediction"}))
    with pytest.raises(UserError, match="predicts v_prediction"):
        DeepFloyd.load(folder, torch.float32, "cpu")
