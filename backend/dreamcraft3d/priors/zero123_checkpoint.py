"""An original Zero-1-to-3 checkpoint (one file, names of the latent diffusion code) to a diffusers folder, once."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.zero123 import KIND_FILE, CLIPCameraProjection, Zero123Kind

UNET, VAE, CLIP, PROJECTION = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.model.visual.",
    "cc_projection.",
)


@dataclass(frozen=True)
class Shapes:
    """The networks' configurations; as they stand, those of both published models.

    Attributes:
        unet: of ``UNet2DConditionModel``.
        vae: of ``AutoencoderKL``.
        clip: of ``CLIPVisionConfig``: ViT-L/14.
    """

    unet: dict[str, Any] = field(
        default_factory=lambda: {
            "sample_size": 32,
            "in_channels": 8,
            "out_channels": 4,
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            "attention_head_dim": 8,
            "cross_attention_dim": 768,
        }
    )
    vae: dict[str, Any] = field(
        default_factory=lambda: {
            "sample_size": 256,
            "latent_channels": 4,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "scaling_factor": 0.18215,
        }
    )
    clip: dict[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "projection_dim": 768,
            "hidden_act": "quick_gelu",
        }
    )


def convert_checkpoint(
    checkpoint: Path, folder: Path, kind: Zero123Kind, sha256: str, shapes: Shapes | None = None
) -> None:
    """Write ``vae``, ``image_encoder``, ``unet``, ``scheduler``, ``clip_camera_projection`` and ``zero123.json``.

    The averaged weights are taken where the file has both, as the original code does. A folder that was converted from
    the same file is left as it is. Nothing stands under ``folder`` until all of it is written.

    Args:
        sha256: of the checkpoint, in hexadecimal, as its publisher gives it.
        shapes: of the networks; None is full size.

    Raises:
        UserError: there is no such file, it is not what its checksum says, or not a Zero-1-to-3 checkpoint; or
            something else stands at ``folder``.
    """
    shapes = shapes or Shapes()
    origin = json.dumps({"kind": str(kind), "sha256": sha256.lower()})
    if folder.exists():
        record = folder / KIND_FILE
        if record.is_file() and record.read_text(encoding="utf-8") == origin:
            return
        raise UserError(f"{folder} is there already, and not made from this checkpoint.", "Name another folder.")
    _check(checkpoint, sha256)
    weights = _read(checkpoint)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for part, network in _networks(checkpoint, weights, shapes).items():
            network.save_pretrained(unfinished / part)
        _schedule().save_pretrained(unfinished / "scheduler")
        (unfinished / KIND_FILE).write_text(origin, encoding="utf-8")
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check(checkpoint: Path, sha256: str) -> None:
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint {checkpoint}.", "Download it, or correct the path.")
    with checkpoint.open("rb") as file:
        if file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
            raise UserError(
                f"{checkpoint} is a web page, not a checkpoint.",
                "The site did not let the download through: open its address in a browser and save the file itself.",
            )
        if not zipfile.is_zipfile(file):
            raise UserError(
                f"{checkpoint} is cut short, or not a checkpoint at all.",
                f"It has {checkpoint.stat().st_size:,} bytes; download it again.",
            )
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"{checkpoint} is not the file it should be: its SHA-256 is {found}, where {sha256.lower()} was expected.",
            "Download it again, from its publisher.",
        )


class _Unread:
    """What stands for every class in a checkpoint that is not a tensor's: it does nothing."""

    def __init__(self, *args: object) -> None: ...


def _read(checkpoint: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, left on disk until used; nothing in the file is imported or run.

    The training framework wrote the classes of its callbacks beside the weights, which alone would make a reading of
    weights only fail.
    """
    try:
        classes = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
        with torch.serialization.safe_globals([(_Unread, name) for name in classes]):
            content = torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, ValueError, pickle.UnpicklingError, EOFError) as problem:
        raise UserError(
            f"{checkpoint} cannot be read as a checkpoint.", "Download it again, from its publisher."
        ) from problem
    state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    weights = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for prefix in (UNET, VAE, CLIP, PROJECTION):
        if not any(name.startswith(prefix) for name in weights):
            raise _other_model(checkpoint, f"it has no weights {prefix}*")
    return weights


def _other_model(checkpoint: Path, reason: str) -> UserError:
    return UserError(
        f"{checkpoint} is not a Zero-1-to-3 checkpoint: {reason}.",
        "Name the file zero123-xl.ckpt or stable_zero123.ckpt.",
    )


def _networks(checkpoint: Path, weights: dict[str, Tensor], shapes: Shapes) -> dict[str, Any]:
    """Each part of the folder, with its weights."""
    with torch.device("meta"):
        networks = {
            "unet": UNet2DConditionModel.from_config(shapes.unet),
            "vae": AutoencoderKL.from_config(shapes.vae),
            "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**shapes.clip)),
            "clip_camera_projection": CLIPCameraProjection(shapes.clip["projection_dim"]),
        }
    converted = {
        "unet": convert_ldm_unet_checkpoint(weights, networks["unet"].config, extract_ema=True),
        "vae": convert_ldm_vae_checkpoint(weights, networks["vae"].config),
        "image_encoder": _clip_weights(_under(weights, CLIP)),
        "clip_camera_projection": {f"proj.{name}": value for name, value in _under(weights, PROJECTION).items()},
    }
    for part, network in networks.items():
        _fill(checkpoint, network, converted[part])
    return networks


def _fill(checkpoint: Path, network: nn.Module, weights: dict[str, Tensor]) -> None:
    try:
        network.load_state_dict(weights, strict=True, assign=True)
    except RuntimeError as problem:  # a list of names and shapes
        raise _other_model(checkpoint, f"its weights do not fit {type(network).__name__}") from problem


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


_CLIP_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "conv1": "embeddings.patch_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
    "transformer.resblocks": "encoder.layers",
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def _clip_weights(visual: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names of CLIP's picture tower to those of transformers; its queries, keys and values lie in one tensor."""
    converted = {"visual_projection.weight": visual["proj"].T.contiguous()} if "proj" in visual else {}
    for name, value in visual.items():
        for old, new in _CLIP_NAMES.items():
            name = name.replace(old, new)
        if ".attn.in_proj_" in name:
            layer, kind = name.split(".attn.in_proj_")
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                converted[f"vision_model.{layer}.self_attn.{letter}_proj.{kind}"] = third.contiguous()
        elif name != "proj":
            converted[f"vision_model.{name}"] = value
    return converted


def _schedule() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
