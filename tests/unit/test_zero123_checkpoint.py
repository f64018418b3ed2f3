"""Original Zero-1-to-3 checkpoints: converted, they predict the same; damaged or foreign ones are refused."""

from __future__ import annotations

import hashlib
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from ldm_names import ClipTower, unet_names, vae_names
from tiny_models import CLIP_WIDTH, TINY_ZERO123
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.zero123 import Zero123, Zero123Guidance, Zero123Kind
from dreamcraft3d.priors.zero123_checkpoint import Shapes, convert_checkpoint
from dreamcraft3d.render.camera import Cameras

XL = Zero123Kind.XL


@dataclass
class Original:
    """A tiny model as its networks, and the checkpoint it is saved in."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    clip: ClipTower
    projection: nn.Linear
    file: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def weights(self) -> dict[str, Tensor]:
        parts = {
            "model.diffusion_model.": unet_names(self.unet),
            "first_stage_model.": vae_names(self.vae),
            "cond_stage_model.model.visual.": self.clip.state_dict(),
            "cc_projection.": self.projection.state_dict(),
        }
        named = {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}
        # what else such a file has
        return named | {"cond_stage_model.mean": torch.zeros(3), "betas": torch.zeros(1000)}

    def save(self, **more: object) -> None:
        torch.save({"global_step": 7, "state_dict": self.weights()} | more, self.file)

    def convert(self, folder: Path) -> Path:
        convert_checkpoint(self.file, folder, XL, self.sha256, TINY_ZERO123)
        return folder


@pytest.fixture(scope="session")
def networks() -> tuple:
    torch.manual_seed(1)
    clip = TINY_ZERO123.clip
    tower = ClipTower(
        clip["hidden_size"],
        clip["num_attention_heads"],
        clip["num_hidden_layers"],
        clip["image_size"],
        clip["patch_size"],
        clip["projection_dim"],
    )
    projection = nn.Linear(CLIP_WIDTH + 4, CLIP_WIDTH)
    networks = UNet2DConditionModel(**TINY_ZERO123.unet), AutoencoderKL(**TINY_ZERO123.vae), tower, projection
    return tuple(network.eval().requires_grad_(False) for network in networks)


@pytest.fixture
def original(networks: tuple, tmp_path: Path) -> Original:
    saved = Original(*networks, tmp_path / "zero123-xl.ckpt")
    saved.save()
    return saved


def test_converted_and_original_networks_predict_the_same(original: Original, tmp_path: Path) -> None:
    model = Zero123.load(original.convert(tmp_path / "zero123"), torch.float32, "cpu")
    joined, token, small = torch.randn(2, 8, 32, 32), torch.randn(2, 1, CLIP_WIDTH), torch.randn(2, 3, 28, 28)
    large, both = torch.randn(1, 3, 256, 256), torch.randn(2, CLIP_WIDTH + 4)
    timesteps = torch.tensor([150, 600])
    with torch.no_grad():
        for found, expected in (
            (model.unet(joined, timesteps, token).sample, original.unet(joined, timesteps, token).sample),
            (model.latents(large), original.vae.encode(large).latent_dist.mode()),
            (model.image_encoder(small).image_embeds, original.clip(small)),
            (model.projection(both), original.projection(both)),
        ):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_decoder_is_converted_too(original: Original, tmp_path: Path) -> None:
    vae = AutoencoderKL.from_pretrained(original.convert(tmp_path / "zero123") / "vae").eval()
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(vae.decode(latents).sample, original.vae.decode(latents).sample)


def test_the_folder_says_its_kind_and_guides(original: Original, tmp_path: Path) -> None:
    model = Zero123.load(original.convert(tmp_path / "zero123"), torch.float32, "cpu")
    assert model.kind is XL
    noise = Zero123Guidance(model, torch.rand(1, 64, 64, 3)).predict_noise(
        torch.zeros(1, 4, 32, 32), torch.tensor([500]), Cameras.at(30.0)
    )
    assert noise.isfinite().all()
    assert float(model.alphas_cumprod[-1]) == pytest.approx(0.00466, abs=1e-5)


def test_averaged_weights_are_taken_where_there_are_any(original: Original, tmp_path: Path) -> None:
    weights = original.weights()
    averaged = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): value + 1.0
        for name, value in weights.items()
        if name.startswith("model.diffusion_model.")
    }
    torch.save({"state_dict": weights | averaged}, original.file)
    unet = UNet2DConditionModel.from_pretrained(original.convert(tmp_path / "zero123") / "unet")
    torch.testing.assert_close(unet.conv_in.weight, original.unet.conv_in.weight + 1)


def test_the_same_checkpoint_is_converted_once(original: Original, tmp_path: Path) -> None:
    folder, sha256 = original.convert(tmp_path / "zero123"), original.sha256
    original.file.unlink()
    convert_checkpoint(original.file, folder, XL, sha256.upper(), TINY_ZERO123)


@pytest.mark.parametrize(("kind", "sha256"), [(Zero123Kind.STABLE, None), (XL, "0" * 64)])
def test_another_checkpoints_folder_is_left_alone(
    original: Original, tmp_path: Path, kind: Zero123Kind, sha256: str | None
) -> None:
    folder = original.convert(tmp_path / "zero123")
    with pytest.raises(UserError, match="there already"):
        convert_checkpoint(original.file, folder, kind, sha256 or original.sha256, TINY_ZERO123)


def test_a_conversion_that_fails_leaves_nothing(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(AutoencoderKL, "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        original.convert(tmp_path / "models" / "zero123")
    assert list((tmp_path / "models").iterdir()) == []


# what is refused


def test_a_web_page_is_recognised(original: Original, tmp_path: Path) -> None:
    original.file.write_text("\n  <!DOCTYPE html><html><body>Please log in</body></html>" + " " * 1000)
    with pytest.raises(UserError, match="is a web page, not a checkpoint"):
        original.convert(tmp_path / "zero123")


def test_a_file_cut_short_is_recognised(original: Original, tmp_path: Path) -> None:
    content = original.file.read_bytes()
    original.file.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="is cut short"):
        original.convert(tmp_path / "zero123")


def test_a_wrong_checksum_is_recognised_before_anything_is_read(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = original.sha256
    content = bytearray(original.file.read_bytes())
    content[len(content) // 2] ^= 1
    original.file.write_bytes(content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(UserError, match="is not the file it should be"):
        convert_checkpoint(original.file, tmp_path / "zero123", XL, expected, TINY_ZERO123)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no checkpoint"):
        convert_checkpoint(tmp_path / "none.ckpt", tmp_path / "zero123", XL, "0" * 64, TINY_ZERO123)


@pytest.mark.parametrize(
    "prefix", ["model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "cc_projection."]
)
def test_a_checkpoint_without_one_of_the_networks_is_another_model(
    original: Original, tmp_path: Path, prefix: str
) -> None:
    rest = {name: value for name, value in original.weights().items() if not name.startswith(prefix)}
    torch.save({"state_dict": rest}, original.file)
    with pytest.raises(UserError, match="is not a Zero-1-to-3 checkpoint: it has no weights"):
        original.convert(tmp_path / "zero123")


def test_a_network_of_other_shape_is_another_model(original: Original, tmp_path: Path) -> None:
    narrow = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(16, 4, 3, 3)}
    torch.save({"state_dict": original.weights() | narrow}, original.file)
    with pytest.raises(UserError, match="do not fit UNet2DConditionModel"):
        original.convert(tmp_path / "zero123")


# what else may be in the file


def test_classes_that_the_training_framework_left_are_passed_over(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name})
    module = types.ModuleType(name)
    module.ModelCheckpoint = callback
    for each in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
        monkeypatch.setitem(sys.modules, each, module)
    left = callback()
    left.monitor = "val/loss"
    original.save(callbacks={callback: {"best": 0.5}}, more=left)
    monkeypatch.undo()
    assert (original.convert(tmp_path / "zero123") / "zero123.json").is_file()


class _Planted:
    """Pickled, it asks its reader to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


class _PlantedElsewhere(_Planted):
    """The same by a function of a module that the reading code does not know for dangerous."""

    def __reduce__(self) -> tuple:
        import shutil

        return shutil.copytree, (str(self.folder.parent / "source"), str(self.folder))


@pytest.mark.parametrize("planted", [_Planted, _PlantedElsewhere])
def test_nothing_in_the_file_is_run(original: Original, tmp_path: Path, planted: type[_Planted]) -> None:
    (tmp_path / "source").mkdir()
    original.save(planted=planted(tmp_path / "planted"))
    try:
        original.convert(tmp_path / "zero123")
    except UserError as refused:
        assert "cannot be read" in str(refused)  # noqa: PT017 - refusing is right as well
    assert not (tmp_path / "planted").exists()


def test_the_full_sizes_are_those_of_stable_diffusion_and_vit_l() -> None:
    """Stable Diffusion 1's UNet has 859,520,964 weights, its autoencoder 83,653,863; CLIP ViT-L/14's tower 303,966,208."""
    shapes = Shapes()
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**shapes.unet), AutoencoderKL(**shapes.vae)
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**shapes.clip))
    four_more_channels = 4 * 320 * 3 * 3
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964 + four_more_channels
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert sum(p.numel() for p in clip.parameters()) == 303_966_208
    assert clip.config.hidden_act == "quick_gelu"  # OpenAI's own
