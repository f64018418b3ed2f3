"""Zero-1-to-3 as a prior: poses, conditions, guidance, and which of the two models a folder holds."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tiny_models import CLIP_WIDTH, TINY_ZERO123, save_zero123
from torch import Tensor

from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.zero123 import CLIP_MEAN, CLIP_STD, Zero123, Zero123Guidance, Zero123Kind, poses, read_kind
from dreamcraft3d.render.camera import Cameras

XL, STABLE = Zero123Kind.XL, Zero123Kind.STABLE
TIMESTEPS = torch.tensor([150, 600])
CAMERAS = Cameras.at([20.0, 160.0], 10.0)


@pytest.fixture(scope="session")
def saved_zero123(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_zero123(tmp_path_factory.mktemp("zero123"), XL)


@pytest.fixture
def folder(saved_zero123: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(saved_zero123, tmp_path / "zero123"))


@pytest.fixture(scope="session")
def model(saved_zero123: Path) -> Zero123:
    return Zero123.load(saved_zero123, torch.float32, "cpu")


@pytest.fixture(scope="session")
def picture() -> Tensor:
    """(1, 256, 256, 3) smooth random colours."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    return F.interpolate(coarse, (256, 256), mode="bicubic").clamp(0, 1).permute(0, 2, 3, 1)


@pytest.fixture(scope="session")
def guidance(model: Zero123, picture: Tensor) -> Zero123Guidance:
    return Zero123Guidance(model, picture)


@pytest.fixture
def noisy(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 4, 32, 32, generator=generator)


@pytest.fixture
def seen(model: Zero123):
    """What goes into the UNet: positional arguments of each pass."""
    passes = []
    hook = model.unet.register_forward_pre_hook(lambda _, arguments: passes.append(arguments))
    yield passes
    hook.remove()


# poses


@pytest.mark.parametrize(
    ("kind", "azimuth", "elevation", "reference", "pose"),
    [
        (XL, 30, 0, (0, 0), (0, 0.5, 0.8660254, 0)),
        (XL, 30, 10, (0, 0), (-0.1745329, 0.5, 0.8660254, 0)),
        (XL, -90, -10, (0, 5), (0.2617994, -1, 0, 0)),
        (XL, 60, 20, (30, 20), (0, 0.5, 0.8660254, 0)),
        (STABLE, 30, 10, (0, 0), (-0.1745329, 0.5, 0.8660254, 1.5707963)),
        (STABLE, 180, 10, (0, 30), (0.3490659, 0, -1, 1.0471976)),
    ],
)
def test_poses_are_those_the_models_were_trained_on(
    kind: Zero123Kind, azimuth: int, elevation: int, reference: tuple[int, int], pose: tuple[float, ...]
) -> None:
    found = poses(Cameras.at(float(azimuth), float(elevation)), kind, *map(float, reference))
    torch.testing.assert_close(found, torch.tensor([pose]), atol=1e-6, rtol=0)


def test_the_kind_tells_in_the_prediction(model: Zero123, picture: Tensor, noisy: Tensor, saved_zero123: Path) -> None:
    stable = Zero123(**vars(model) | {"kind": STABLE})
    xl_noise, stable_noise = (
        Zero123Guidance(each, picture).predict_noise(noisy, TIMESTEPS, CAMERAS) for each in (model, stable)
    )
    assert not torch.allclose(xl_noise, stable_noise, atol=1e-3)


# encoding


def test_pictures_of_any_size_become_32_by_32_latents(guidance: Zero123Guidance) -> None:
    assert guidance.encode(torch.rand(2, 64, 64, 3)).shape == (2, 4, 32, 32)
    assert guidance.encode(torch.rand(1, 300, 300, 3)).shape == (1, 4, 32, 32)


def test_renders_are_enlarged_bilinearly_to_256_px(
    guidance: Zero123Guidance, model: Zero123, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = model.vae.encode
    monkeypatch.setattr(model.vae, "encode", lambda pictures: encoded.append(pictures) or encode(pictures))
    guidance.encode(torch.linspace(0, 1, 128)[None, None, :, None].expand(1, 128, 128, 3))
    steps = encoded[0][0, 0, 0].diff()
    assert encoded[0].shape == (1, 3, 256, 256)
    torch.testing.assert_close(steps[1:-1], torch.full((253,), 1 / 127), atol=1e-5, rtol=0)


def test_renders_are_scaled_and_the_condition_is_not(
    guidance: Zero123Guidance, model: Zero123, picture: Tensor
) -> None:
    with torch.no_grad():
        mode = model.vae.encode(picture.permute(0, 3, 1, 2) * 2 - 1).latent_dist.mode()
        encoded = guidance.encode(picture)
    torch.testing.assert_close(guidance.latent, mode, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded, 0.18215 * mode, atol=1e-5, rtol=0)


def test_encoding_twice_is_the_same(guidance: Zero123Guidance, picture: Tensor) -> None:
    assert torch.equal(guidance.encode(picture), guidance.encode(picture))


def test_a_distillation_step_reaches_every_pixel_and_no_weight(
    guidance: Zero123Guidance, model: Zero123, generator: torch.Generator
) -> None:
    pictures = torch.rand(2, 64, 64, 3, requires_grad=True)
    sds_loss(pictures, guidance, CAMERAS, TIMESTEPS, generator).backward()
    assert pictures.grad.abs().amin() > 0
    assert all(p.grad is None for part in (model.vae, model.unet, model.projection) for p in part.parameters())


def test_the_gradient_of_encoding_is_its_derivative(guidance: Zero123Guidance, generator: torch.Generator) -> None:
    pictures = torch.rand(1, 64, 64, 3, generator=generator, requires_grad=True)
    direction = torch.randn(1, 64, 64, 3, generator=generator)
    onto = torch.randn(1, 4, 32, 32, generator=generator)
    (guidance.encode(pictures) * onto).sum().backward()
    with torch.no_grad():
        ahead, behind = (guidance.encode(pictures + step * direction) for step in (1e-2, -1e-2))
    slope = float(((ahead - behind) * onto).sum() / 2e-2)
    assert float((pictures.grad * direction).sum()) == pytest.approx(slope, rel=0.02)


# conditions


def test_nothing_comes_first_and_is_zeros_after_the_projection_and_beside(
    guidance: Zero123Guidance, noisy: Tensor, seen: list
) -> None:
    guidance.predict_noise(noisy, TIMESTEPS, CAMERAS)
    joined, timesteps, tokens = seen[0]
    assert torch.equal(timesteps, torch.cat([TIMESTEPS, TIMESTEPS]))
    assert torch.equal(joined[:, :4], torch.cat([noisy, noisy]))
    assert torch.equal(joined[:2, 4:], torch.zeros(2, 4, 32, 32))
    assert torch.equal(joined[2:, 4:], guidance.latent.expand(2, -1, -1, -1))
    assert tokens.shape == (4, 1, CLIP_WIDTH)
    assert torch.equal(tokens[:2], torch.zeros(2, 1, CLIP_WIDTH))
    assert tokens[2:].abs().min() > 0


def test_the_token_is_the_projection_of_picture_then_pose(
    guidance: Zero123Guidance, model: Zero123, noisy: Tensor, seen: list
) -> None:
    guidance.predict_noise(noisy, TIMESTEPS, CAMERAS)
    rise, turn = math.radians(-10), math.radians(160)
    pose = torch.tensor([[rise, math.sin(turn), math.cos(turn), 0.0]])
    expected = model.projection(torch.cat([guidance.embedding, pose], dim=1))
    torch.testing.assert_close(seen[0][2][3], expected, atol=1e-5, rtol=0)


def test_clip_sees_its_own_normalisation_with_corners_aligned(model: Zero123, picture: Tensor) -> None:
    shown = []
    hook = model.image_encoder.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0]))
    Zero123Guidance(model, picture)
    hook.remove()
    colours = shown[0] * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]
    assert colours.shape == (1, 3, 28, 28)
    corners = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    for y, x in corners:
        torch.testing.assert_close(colours[0, :, y, x], picture[0, y, x], atol=1e-4, rtol=0)


def test_guidance_is_nothing_plus_five_times_the_difference(
    guidance: Zero123Guidance, model: Zero123, noisy: Tensor, seen: list
) -> None:
    found = guidance.predict_noise(noisy, TIMESTEPS, CAMERAS)
    joined, timesteps, tokens = seen[0]
    with torch.no_grad():
        nothing = model.unet(joined[:2], timesteps[:2], tokens[:2]).sample
        wanted = model.unet(joined[2:], timesteps[2:], tokens[2:]).sample
    torch.testing.assert_close(found, nothing + 5 * (wanted - nothing), atol=1e-4, rtol=1e-4)
    assert not found.requires_grad


def test_half_precision_stays_inside(saved_zero123: Path, model: Zero123, picture: Tensor) -> None:
    half = Zero123Guidance(Zero123.load(saved_zero123, torch.bfloat16, "cpu"), picture, scale=1.0)
    whole = Zero123Guidance(model, picture, scale=1.0)
    noisy, camera = torch.zeros(1, 4, 32, 32), Cameras.at(20.0)
    rough, exact = (each.predict_noise(noisy, TIMESTEPS[:1], camera) for each in (half, whole))
    assert rough.dtype == half.encode(picture).dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0.1)


def test_the_schedule_is_scaled_linear(guidance: Zero123Guidance) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    expected = torch.cumprod(1 - betas, dim=0).float()
    torch.testing.assert_close(guidance.alphas_cumprod, expected, atol=1e-5, rtol=0)


# loading


def test_a_folder_that_does_not_say_its_kind_is_not_guessed_at(folder: Path) -> None:
    (folder / "zero123.json").unlink()
    with pytest.raises(UserError, match=r'Nothing says which .* "zero123-xl" or "stable-zero123"'):
        Zero123.load(folder, torch.float32, "cpu")
    assert Zero123.load(folder, torch.float32, "cpu", STABLE).kind is STABLE


def test_the_folders_own_word_is_taken(folder: Path) -> None:
    (folder / "zero123.json").write_text('{"kind": "stable-zero123"}')
    assert Zero123.load(folder, torch.float32, "cpu").kind is STABLE


def test_a_folder_that_contradicts_the_caller_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="holds zero123-xl, not stable-zero123"):
        Zero123.load(folder, torch.float32, "cpu", STABLE)


@pytest.mark.parametrize("written", ["", "[]", "{}", '{"kind": "zero123"}', '{"kind": 3}'])
def test_a_file_that_names_no_model_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "zero123.json").write_text(written)
    with pytest.raises(UserError, match="does not name a model"):
        read_kind(tmp_path, XL)


def test_both_names_of_the_projection_are_read(folder: Path, guidance: Zero123Guidance, picture: Tensor) -> None:
    weights = load_file(folder / "clip_camera_projection" / "diffusion_pytorch_model.safetensors")
    renamed = {name.replace("proj.", "projection."): value.clone() for name, value in weights.items()}
    shutil.rmtree(folder / "clip_camera_projection")
    (folder / "cc_projection").mkdir()
    save_file(renamed, folder / "cc_projection" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    config = {"_class_name": "CCProjection", "in_channel": CLIP_WIDTH + 4, "out_channel": CLIP_WIDTH}
    (folder / "cc_projection" / "config.json").write_text(json.dumps(config))
    other = Zero123Guidance(Zero123.load(folder, torch.float32, "cpu"), picture)
    noisy = torch.zeros(1, 4, 32, 32)
    found, expected = (each.predict_noise(noisy, TIMESTEPS[:1], Cameras.at(50.0)) for each in (other, guidance))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("", "There is no model folder"),
        ("vae", "vae/config.json"),
        ("image_encoder/model.safetensors", "image_encoder/*.safetensors"),
        ("unet/config.json", "unet/config.json"),
        ("scheduler", "scheduler/scheduler_config.json"),
        ("clip_camera_projection", "clip_camera_projection/*.safetensors"),
    ],
)
def test_what_is_missing_is_named(folder: Path, gone: str, named: str) -> None:
    path = folder / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(UserError) as caught:
        Zero123.load(folder, torch.float32, "cpu")
    assert named in str(caught.value)


def test_a_unet_of_another_model_is_refused(folder: Path) -> None:
    UNet2DConditionModel(**TINY_ZERO123.unet | {"in_channels": 4}).save_pretrained(folder / "unet")
    with pytest.raises(UserError, match="not those of one Zero-1-to-3 model"):
        Zero123.load(folder, torch.float32, "cpu")
