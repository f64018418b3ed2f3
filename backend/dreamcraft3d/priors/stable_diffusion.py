"""Stable Diffusion as a prior: 2.1 base and its relatives, epsilon and v-prediction, SDXL too.

A model is read from a folder in the diffusers layout. What differs between the kinds ends here: SDXL's second text
encoder gives a pooled vector beside the tokens and its UNet wants sizes, a v-prediction is turned into noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor, nn

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.embedded import VIEW_WORDS
from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.model_folder import load_pipeline, pipeline_class
from dreamcraft3d.priors.words import view_words
from dreamcraft3d.render.camera import Cameras

_KINDS = {"StableDiffusionPipeline": StableDiffusionPipeline, "StableDiffusionXLPipeline": StableDiffusionXLPipeline}


@dataclass(frozen=True)
class Words:
    """Encoded prompts.

    Attributes:
        tokens: (N, L, D) features of the tokens.
        pooled: (N, P) features of whole prompts, for SDXL; None for others.
    """

    tokens: Tensor
    pooled: Tensor | None = None

    def __getitem__(self, rows: list[int]) -> Words:
        return Words(self.tokens[rows], None if self.pooled is None else self.pooled[rows])


class StableDiffusion:
    """The frozen model.

    Attributes:
        unet: without gradients; adapted copies may add adapters to it, see :meth:`wear`.
        size: the side of its pictures, in pixels.
        alphas_cumprod: (T,) of its schedule, kept above 1e-6 so that noise and clean sample can be told from each other.

    Args:
        pipeline: a ``StableDiffusionPipeline`` or ``StableDiffusionXLPipeline``.
        words_device: where its text encoders work; None is where the UNet is. They rest in the computer's memory.

    Raises:
        UserError: the model predicts neither noise nor velocity.
    """

    def __init__(self, pipeline: Any, words_device: torch.device | None = None) -> None:
        self.pipeline = pipeline
        self.unet: Any = pipeline.unet.eval().requires_grad_(False)
        self.vae: Any = pipeline.vae.eval().requires_grad_(False)
        self.dtype: torch.dtype = self.unet.dtype
        self.device: torch.device = self.unet.device
        self.words_device = words_device or self.device
        if (
            isinstance(pipeline, StableDiffusionXLPipeline)
            and self.dtype == torch.float16
            and self.vae.config.force_upcast
        ):
            self.vae.float()  # in half precision SDXL's autoencoder overflows
        self.scheduler: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
        self.prediction: str = self.scheduler.config.prediction_type
        if self.prediction not in ("epsilon", "v_prediction"):
            raise UserError(
                f'The model predicts "{self.prediction}", neither noise nor velocity.', "Use another Stable Diffusion."
            )
        self.alphas_cumprod: Tensor = self.scheduler.alphas_cumprod.clamp(min=1e-6).to(self.device)
        self.size: int = self.unet.config.sample_size * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @staticmethod
    def load(
        folder: Path,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        words_device: torch.device | None = None,
    ) -> StableDiffusion:
        """Read a folder in the diffusers layout.

        Raises:
            UserError: a part is missing or broken, or the folder holds another kind of model.
        """
        kind = pipeline_class(folder)
        if folder.is_dir() and kind not in _KINDS:
            raise UserError(
                f"{folder} holds no Stable Diffusion model.", f"It should be for one of: {', '.join(_KINDS)}."
            )
        pipeline = load_pipeline(_KINDS.get(kind, StableDiffusionPipeline), folder, dtype)
        for part in (pipeline.unet, pipeline.vae):
            part.to(device)
        return StableDiffusion(pipeline, words_device)

    @torch.no_grad()
    def encode_words(self, texts: list[str], negative: str = "") -> Words:
        """Features of N prompts and, in a last row, those of a negative prompt or of no words."""
        encoders = [part for name, part in self.pipeline.components.items() if name.startswith("text_encoder")]
        for encoder in encoders:
            encoder.to(self.words_device)
        found = self.pipeline.encode_prompt(
            texts,
            device=self.words_device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=[negative] * len(texts) if negative else None,
        )
        for encoder in encoders:
            encoder.to("cpu")
        tokens, nothing, *pooled = (part.to(self.device) for part in found)
        words = torch.cat([tokens, nothing[:1]])
        return Words(words, torch.cat([pooled[0], pooled[1][:1]]) if pooled else None)

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] to latents (B, 4, h, w), float32: the mode of the encoder's distribution, scaled.

        Differentiable.
        """
        x = 2 * pictures.permute(0, 3, 1, 2) - 1
        x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=x.shape[-1] > self.size)
        latents = self.vae.encode(x.to(self.vae.dtype)).latent_dist.mode()
        return latents.float() * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 4, h, w) to pictures (B, S, S, 3) in [0, 1]."""
        decoded = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample
        return (decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)

    def wear(self, adapter: str | None = None, camera: nn.Module | None = None) -> Any:
        """The shared UNet with an adapter and a camera's embedding on, or bare.

        Whoever uses the UNet first says what it wears. It is not undressed afterwards, because gradient checkpointing
        computes parts of it again in the backward pass.
        """
        self.unet.class_embedding = camera
        if adapter is not None:
            self.unet.enable_adapters()
            self.unet.set_adapter(adapter)
        elif getattr(self.unet, "peft_config", None):
            self.unet.disable_adapters()
        return self.unet

    def predict(
        self, unet: Any, noisy: Tensor, timesteps: Tensor, words: Words, camera: Tensor | None = None
    ) -> Tensor:
        """What a UNet of this architecture answers, float32: noise or velocity.

        Args:
            unet: this model's, or a copy.
            noisy: (B, 4, h, w) x_t.
            timesteps: (B,) int64.
            words: of B prompts.
            camera: (B, 16) for a UNet with a camera's embedding.
        """
        dtype = unet.conv_in.weight.dtype
        added = {}
        if words.pooled is not None:  # original size, corner of the crop, target size
            sizes = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]], device=self.device, dtype=dtype)
            added = {"text_embeds": words.pooled.to(dtype), "time_ids": sizes.expand(len(noisy), -1)}
        return unet(
            noisy.to(dtype), timesteps, words.tokens.to(dtype), class_labels=camera, added_cond_kwargs=added
        ).sample.float()

    def as_noise(self, predicted: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """eps of an answer of :meth:`predict`: sqrt(alphabar) v + sqrt(1 - alphabar) x_t (Salimans and Ho, ICLR 2022)."""
        if self.prediction == "epsilon":
            return predicted
        alpha = self.alphas_cumprod[timesteps][:, None, None, None]
        return alpha.sqrt() * predicted + (1 - alpha).sqrt() * noisy

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What :meth:`predict` should have answered for clean latents (B, 4, h, w) with that noise added."""
        if self.prediction == "epsilon":
            return noise
        return self.scheduler.get_velocity(clean, noise, timesteps)


class ViewWords:
    """A prompt with the view words of each camera: ``a mushroom, side view``; and a negative one, or no words."""

    def __init__(self, model: StableDiffusion, prompt: str, negative: str = "") -> None:
        self.words = model.encode_words([f"{prompt}, {view}" for view in VIEW_WORDS], negative)

    def of(self, cameras: Cameras) -> Words:
        """(B, ...) what the B cameras see."""
        return self.words[self._rows(cameras)]

    def without_and_with(self, cameras: Cameras) -> Words:
        """(2B, ...) the negative words for B cameras, then what they see."""
        return self.words[[len(VIEW_WORDS)] * len(cameras) + self._rows(cameras)]

    @staticmethod
    def _rows(cameras: Cameras) -> list[int]:
        angles = zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)
        return [VIEW_WORDS.index(view_words(azimuth, elevation)) for azimuth, elevation in angles]


class StableDiffusionGuidance:
    """The frozen model under a prompt: view words follow the camera, classifier-free guidance away from a negative one."""

    def __init__(self, model: StableDiffusion, prompt: str, scale: float, negative: str = "") -> None:
        self.model = model
        self.scale = scale
        self.alphas_cumprod = model.alphas_cumprod
        self.words = ViewWords(model, prompt, negative)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.model.encode(pictures)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        twice, steps = torch.cat([noisy] * 2), torch.cat([timesteps] * 2)
        answer = self.model.predict(self.model.wear(), twice, steps, self.words.without_and_with(cameras))
        without, with_words = self.model.as_noise(answer, twice, steps).chunk(2)
        return classifier_free(without, with_words, self.scale)
