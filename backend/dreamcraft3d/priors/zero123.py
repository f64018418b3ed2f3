"""Zero-1-to-3 as a 3D prior: noise predictions for one reference picture seen from other cameras.

Two models of one make are known: Zero-1-to-3 XL (Liu et al., ICCV 2023; the paper's) and Stable Zero123 (the released
code's). They differ in the last of the four numbers that describe a camera, and nothing in their weights tells which is
which, so whoever loads one has to know, or its folder has to say so.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ConfigMixin, DDIMScheduler, ModelMixin, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.model_folder import load_alphas_cumprod, load_part, require_parts
from dreamcraft3d.render.camera import Cameras

PIXELS = 256
GUIDANCE_SCALE = 5.0
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
KIND_FILE = "zero123.json"


class Zero123Kind(StrEnum):
    """Which of the two models."""

    XL = "zero123-xl"
    STABLE = "stable-zero123"


class CLIPCameraProjection(ModelMixin, ConfigMixin):
    """Picture embedding and camera, joined, to one token; as most diffusers folders of these models have it."""

    @register_to_config
    def __init__(self, embedding_dim: int = 768, additional_embeddings: int = 4) -> None:
        super().__init__()
        self.proj = nn.Linear(embedding_dim + additional_embeddings, embedding_dim)


class CCProjection(ModelMixin, ConfigMixin):
    """The same under the names of other folders."""

    @register_to_config
    def __init__(self, in_channel: int = 772, out_channel: int = 768) -> None:
        super().__init__()
        self.projection = nn.Linear(in_channel, out_channel)


def poses(cameras: Cameras, kind: Zero123Kind, azimuth: float = 0.0, elevation: float = 0.0) -> Tensor:
    """(B, 4) cameras relative to the reference's, at ``azimuth`` and ``elevation`` degrees.

    [e_ref - e, sin(a - a_ref), cos(a - a_ref), z], in radians. For XL, z is how much farther away the camera is, here
    always 0; for Stable Zero123 it is the reference's polar angle, 90 degrees - e_ref.
    """
    turn = torch.deg2rad(cameras.azimuth - azimuth)
    last = {Zero123Kind.XL: 0.0, Zero123Kind.STABLE: math.radians(90 - elevation)}[kind]
    rise = torch.deg2rad(elevation - cameras.elevation)
    return torch.stack([rise, turn.sin(), turn.cos(), torch.full_like(turn, last)], dim=1)


def read_kind(folder: Path, kind: Zero123Kind | None = None) -> Zero123Kind:
    """Which model a folder holds, as the caller or the folder's ``zero123.json`` ({"kind": "zero123-xl"}) says.

    Raises:
        UserError: neither says it, they contradict each other, or the file is not understood.
    """
    file = folder / KIND_FILE
    known = " or ".join(f'"{each}"' for each in Zero123Kind)
    if not file.is_file():
        if kind is None:
            raise UserError(
                f"Nothing says which Zero-1-to-3 model {folder} holds.",
                f'Write {{"kind": ...}} with {known} into {file}.',
            )
        return kind
    try:
        written = Zero123Kind(json.loads(file.read_text(encoding="utf-8"))["kind"])
    except (ValueError, KeyError, TypeError) as problem:
        raise UserError(f"{file} does not name a model.", f'It should have {{"kind": ...}} with {known}.') from problem
    if kind not in (None, written):
        raise UserError(f"{folder} holds {written}, not {kind}.", "Name the other model's folder, or the other kind.")
    return written


@dataclass(frozen=True)
class Zero123:
    """The model without a picture.

    Attributes:
        vae: only its encoder is kept.
        image_encoder: CLIP's; it rests in the computer's memory.
        unet: takes noisy latents and the reference's, joined.
        projection: from CLIP's embedding and a pose to one token.
        alphas_cumprod: (T,) of the schedule.
        kind: which model this is.
    """

    vae: AutoencoderKL
    image_encoder: CLIPVisionModelWithProjection
    unet: UNet2DConditionModel
    projection: nn.Linear
    alphas_cumprod: Tensor
    kind: Zero123Kind

    @staticmethod
    def load(folder: Path, dtype: torch.dtype, device: torch.device | str, kind: Zero123Kind | None = None) -> Zero123:
        """Read ``vae``, ``image_encoder``, ``unet``, ``scheduler`` and the projection from a folder.

        Args:
            kind: see :func:`read_kind`.

        Raises:
            UserError: the folder is incomplete, holds another model, or nothing says which of the two.
        """
        other = not (folder / "clip_camera_projection").is_dir() and (folder / "cc_projection").is_dir()
        part = "cc_projection" if other else "clip_camera_projection"
        require_parts(folder, "vae", "image_encoder", "unet", "scheduler", part)
        kind = read_kind(folder, kind)
        image_encoder = load_part(CLIPVisionModelWithProjection, folder, "image_encoder", dtype)
        unet = load_part(UNet2DConditionModel, folder, "unet", dtype)
        loaded = load_part(CCProjection if other else CLIPCameraProjection, folder, part, dtype)
        projection = loaded.projection if other else loaded.proj
        sizes = (unet.config.in_channels, unet.config.cross_attention_dim, projection.in_features)
        if sizes != (8, projection.out_features, image_encoder.config.projection_dim + 4):
            raise UserError(f"The parts of {folder} are not those of one Zero-1-to-3 model.", "Download it again.")
        vae = load_part(AutoencoderKL, folder, "vae", dtype)
        vae.decoder = vae.post_quant_conv = None  # distillation only encodes
        return Zero123(
            vae.to(device),
            image_encoder,
            unet.to(device),
            projection.to(device),
            load_alphas_cumprod(DDIMScheduler, folder).to(device),
            kind,
        )

    def latents(self, pictures: Tensor) -> Tensor:
        """Unscaled latents (B, 4, h, w) of pictures (B, 3, H, W) in [-1, 1]: the mode of the encoder's distribution."""
        return self.vae.encode(pictures.to(self.vae.dtype)).latent_dist.mode().to(pictures.dtype)

    def embedding(self, pictures: Tensor) -> Tensor:
        """CLIP's (B, 768) of pictures (B, 3, H, W) in [-1, 1], resized as in training: bicubic, corners aligned."""
        size = self.image_encoder.config.image_size
        small = F.interpolate(pictures, (size, size), mode="bicubic", align_corners=True)
        mean, std = (torch.tensor(each, device=pictures.device)[:, None, None] for each in (CLIP_MEAN, CLIP_STD))
        normalised = ((small + 1) / 2 - mean) / std
        encoder = self.image_encoder.to(pictures.device)  # for this one picture
        embedded: Tensor = encoder(normalised.to(encoder.dtype)).image_embeds
        self.image_encoder.to("cpu")
        return embedded


class Zero123Guidance:
    """One reference picture, classifier-free guidance over picture and camera together.

    Args:
        reference: (1, H, W, 3) the picture on white, in [0, 1].
        azimuth, elevation: its camera, degrees.
        scale: of the guidance, s in u + s (c - u).
    """

    def __init__(
        self,
        model: Zero123,
        reference: Tensor,
        azimuth: float = 0.0,
        elevation: float = 0.0,
        scale: float = GUIDANCE_SCALE,
    ) -> None:
        self.model = model
        self.alphas_cumprod = model.alphas_cumprod
        self.azimuth, self.elevation = azimuth, elevation
        self.scale = scale
        with torch.no_grad():
            picture = _resize(reference.to(model.alphas_cumprod.device), antialias=True)
            self.latent = model.latents(picture)  # not scaled, unlike the noisy latents: so the models were trained
            self.embedding = model.embedding(picture)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] to scaled latents (B, 4, 32, 32) at 256 px; gradient through the encoder.

        The mode of the encoder's distribution. The released code draws from it; a draw would need a generator that a
        resumed run restores, for noise that is small beside the timestep's.
        """
        return self.model.latents(_resize(pictures)) * self.model.vae.config.scaling_factor

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        batch = len(noisy)
        tokens = self._tokens(cameras)
        # Nothing is zeros after the projection, which has a bias, and no picture beside the noisy latents.
        context = torch.cat([torch.zeros_like(tokens), tokens])
        beside = self.latent.expand(batch, -1, -1, -1)
        joined = torch.cat([noisy.repeat(2, 1, 1, 1), torch.cat([torch.zeros_like(beside), beside])], dim=1)
        output = self.model.unet(joined.to(self.model.unet.dtype), timesteps.to(noisy.device).repeat(2), context).sample
        unconditional, conditional = output.to(noisy.dtype).chunk(2)
        return classifier_free(unconditional, conditional, self.scale)

    def _tokens(self, cameras: Cameras) -> Tensor:
        """(B, 1, 768) in the networks' precision."""
        pose = poses(cameras, self.model.kind, self.azimuth, self.elevation).to(self.embedding)
        return self.model.projection(torch.cat([self.embedding.expand(len(pose), -1), pose], dim=1))[:, None]


def _resize(pictures: Tensor, antialias: bool = False) -> Tensor:
    """(B, H, W, 3) in [0, 1] to (B, 3, 256, 256) in [-1, 1], bilinear."""
    return F.interpolate(pictures.permute(0, 3, 1, 2) * 2 - 1, (PIXELS, PIXELS), mode="bilinear", antialias=antialias)
