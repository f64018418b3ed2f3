"""The embedded priors: one small latent diffusion model, trained on toy objects and shipped in the package.

One UNet serves two uses. As a 2D prior it sees words and no camera; as a 3D prior it sees the reference picture (latents
joined to the noisy ones) and the camera's angles relative to it, and no words. Both see a sketch of the expected
picture, foretold from just these conditions (``priors/sketch.py``). It predicts the clean latents
(``prediction_type="sample"``: Li and He, "Back to Basics: Let Denoising Generative Models Denoise", 2025), from
which follows the noise that the rest of the house asks a prior for.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.latents import PatchLatents
from dreamcraft3d.priors.sketch import Sketch
from dreamcraft3d.priors.words import MAX_TOKENS, REFERENCE_VIEW, view_words
from dreamcraft3d.render.camera import Cameras

WEIGHTS = Path(__file__).parent / "embedded_weights"
VIEW_WORDS = ("front view", "side view", "back view", "overhead view")
SNR_CAP = 5.0
SNR_SHIFT = 8.0

LATENT_CHANNELS = 48
LATENT_SIZE = 16
TEXT_WIDTH = 192
CAMERA_FEATURES = 16
SKETCH_CHANNELS = 12
CAMERA_GAIN = 4.0
"""Amplitude of the camera's features: at 1, the network needed thousands of steps to notice the camera at all."""


def make_unet() -> UNet2DConditionModel:
    """The shared UNet: 16x16 latents, attention at 8x8 and below; noisy and reference latents and the sketch joined."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=2 * LATENT_CHANNELS + SKETCH_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128, 256),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=32,
        class_embed_type="projection",
        resnet_time_scale_shift="scale_shift",
        projection_class_embeddings_input_dim=CAMERA_FEATURES + TEXT_WIDTH,
    )


def make_text_encoder(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """Two transformer layers over the words."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=TEXT_WIDTH,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )


def make_scheduler() -> DDPMScheduler:
    """1000 steps with zero terminal signal, predicting the clean sample.

    Scaled-linear betas whose signal-to-noise ratio is divided by ``SNR_SHIFT`` (Hoogeboom et al., "simple diffusion",
    ICML 2023): outline and mean colour of a picture are spread over so many latents that they show through plain
    scaled-linear noise at seven timesteps in ten, where neither words nor camera then mattered.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    shifted = alphas_cumprod / (alphas_cumprod + SNR_SHIFT * (1 - alphas_cumprod))
    steps = shifted / torch.cat([torch.ones(1, dtype=torch.float64), shifted[:-1]])
    return DDPMScheduler(
        num_train_timesteps=1000,
        trained_betas=(1 - steps).tolist(),
        prediction_type="sample",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def camera_features(azimuth: Tensor, elevation: Tensor, with_reference: bool) -> Tensor:
    """(B, 16) features of cameras (degrees): a flag for the 3D use, a constant, sines and cosines of a to 4a, e to 3e.

    The camera is relative to the reference picture's, which is at azimuth 0 and elevation 0. All zeros means no camera.
    """
    a, e = torch.deg2rad(azimuth)[:, None], torch.deg2rad(elevation)[:, None]
    angles = torch.cat([a * torch.arange(1, 5, device=a.device), e * torch.arange(1, 4, device=e.device)], dim=1)
    flags = torch.tensor([float(with_reference), 1.0], device=a.device).expand(len(a), 2)
    return CAMERA_GAIN * torch.cat([flags, angles.sin(), angles.cos()], dim=1)


class EmbeddedPrior(nn.Module):
    """The diffusion model itself: latents, words, sketch, UNet and schedule, as saved in the diffusers folder layout."""

    def __init__(
        self,
        latents: PatchLatents,
        tokenizer: PreTrainedTokenizerFast,
        text_encoder: CLIPTextModel | None = None,
        unet: UNet2DConditionModel | None = None,
        scheduler: DDPMScheduler | None = None,
        sketch: Sketch | None = None,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder or make_text_encoder(tokenizer)
        self.unet = unet or make_unet()
        self.scheduler: DDPMScheduler = scheduler or make_scheduler()
        self.sketch = sketch or Sketch(CAMERA_FEATURES + TEXT_WIDTH, (SKETCH_CHANNELS, LATENT_SIZE, LATENT_SIZE))

    @staticmethod
    def load(folder: Path = WEIGHTS, device: torch.device | str = "cpu") -> EmbeddedPrior:
        """Read weights (stored in half precision, used in single)."""
        return EmbeddedPrior(
            PatchLatents.load(folder / "latents.safetensors"),
            PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
            DDPMScheduler.from_pretrained(folder / "scheduler"),
            Sketch.from_pretrained(folder / "sketch", torch_dtype=torch.float32),
        ).to(device)

    def save(self, folder: Path) -> None:
        """Write a diffusers folder: unet, text_encoder, tokenizer, scheduler, sketch, latents.safetensors."""
        self.unet.save_pretrained(folder / "unet")
        self.text_encoder.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        self.sketch.save_pretrained(folder / "sketch")
        self.latents.save(folder / "latents.safetensors")

    @property
    def alphas_cumprod(self) -> Tensor:
        """(1000,) of the schedule, kept above 1e-6 so that noise and clean sample can be told from each other."""
        return self.scheduler.alphas_cumprod.clamp(min=1e-6).to(self.latents.mean.device)

    def encode_words(self, texts: list[str]) -> Tensor:
        """Word features (B, MAX_TOKENS, 192) of prompts."""
        ids = self.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(ids.to(self.text_encoder.device)).last_hidden_state

    @staticmethod
    def steering(words: Tensor, camera: Tensor) -> Tensor:
        """(B, 208) camera (B, 16) and words (B, MAX_TOKENS, 192) in one row; the last token has read all words."""
        return torch.cat([camera, words[:, -1]], dim=1)

    @torch.no_grad()
    def sketched(self, words: Tensor, camera: Tensor, reference: Tensor | None = None) -> Tensor:
        """Latents (B, 48, 16, 16) of the sketch of the same conditions as :meth:`predict_clean`'s."""
        none = torch.zeros(len(words), *self.sketch.shape, device=words.device)
        seen = none if reference is None else self.latents.thumbnail(reference)
        return self.latents.encode(self.latents.picture_of(self.sketch(self.steering(words, camera), seen)))

    def predict_clean(
        self, noisy: Tensor, timesteps: Tensor, words: Tensor, camera: Tensor, reference: Tensor | None = None
    ) -> Tensor:
        """The expected clean latents (B, 48, 16, 16).

        Args:
            noisy: (B, 48, 16, 16) x_t.
            timesteps: (B,) int64.
            words: (B, MAX_TOKENS, 192) word features.
            camera: (B, 16) :func:`camera_features`, zeros for none.
            reference: (B, 48, 16, 16) latents of the reference picture, None for none.
        """
        beside = torch.zeros_like(noisy) if reference is None else reference
        token = camera.repeat(1, TEXT_WIDTH // CAMERA_FEATURES)[:, None]  # the camera is a word, too
        context = torch.cat([words, token], dim=1)
        # Camera and words also steer every block, beside the timestep.
        steering = self.steering(words, camera)
        sketch = self.sketch(steering, self.latents.thumbnail(beside))
        seen = torch.cat([noisy, beside, sketch], dim=1)
        return self.unet(seen, timesteps, context, class_labels=steering).sample

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, words: Tensor, camera: Tensor, reference: Tensor | None = None
    ) -> Tensor:
        """eps = (x_t - sqrt(alphabar) x) / sqrt(1 - alphabar) for the predicted clean latents x; as above."""
        alpha = self.alphas_cumprod[timesteps][:, None, None, None]
        clean = self.predict_clean(noisy, timesteps, words, camera, reference)
        return (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    def denoising_loss(
        self,
        clean: Tensor,
        words: Tensor,
        camera: Tensor,
        generator: torch.Generator,
        reference: Tensor | None = None,
    ) -> Tensor:
        """The loss the model is trained with, at random timesteps and noise, a scalar.

        That of v-prediction, (SNR + 1) |x - x_hat|^2, with SNR capped at 5 (Hang et al., "Efficient diffusion training
        via min-SNR weighting", ICCV 2023). The error is that of the pictures, not of the latents, in which half of the
        variance is detail that nothing foretells under strong noise.
        """
        total = len(self.alphas_cumprod)
        timesteps = torch.randint(0, total, (len(clean),), generator=generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = self.scheduler.add_noise(clean, noise, timesteps)
        predicted = self.predict_clean(noisy, timesteps, words, camera, reference)
        alpha = self.alphas_cumprod[timesteps]
        weight = (alpha / (1 - alpha)).clamp(max=SNR_CAP) + 1
        error = (self.latents.pixel_weights * (predicted.float() - clean).square()).mean(dim=(1, 2, 3))
        return (weight * error).mean()


class WordsGuidance:
    """The 2D use: a prompt with view words, no camera, classifier-free guidance.

    eps = eps_negative + scale (eps_words - eps_negative), where a negative prompt may be no words at all.
    """

    def __init__(self, prior: EmbeddedPrior, prompt: str, scale: float, negative: str = "") -> None:
        self.prior = prior
        self.scale = scale
        self.alphas_cumprod = prior.alphas_cumprod
        with torch.no_grad():
            views = (*VIEW_WORDS, REFERENCE_VIEW, "")
            texts = [f"{prompt}, {view}" if view else negative for view in views]
            self.features = dict(zip(views, prior.encode_words(texts), strict=True))

    def encode(self, pictures: Tensor) -> Tensor:
        return self.prior.latents.encode(pictures)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        views = [view_words(a, e) for a, e in zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)]
        return self._guided(noisy, timesteps, torch.stack([self.features[view] for view in views]))

    def _guided(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        batch = len(noisy)
        nothing = self.features[""].expand_as(words)
        camera = torch.zeros(2 * batch, CAMERA_FEATURES, device=noisy.device)
        twice = torch.cat([noisy, noisy]), torch.cat([timesteps, timesteps])
        without, with_words = self.prior.predict_noise(*twice, torch.cat([nothing, words]), camera).chunk(2)
        return classifier_free(without, with_words, self.scale)


class FrontGuidance(WordsGuidance):
    """The 2D use for the reference picture itself: the exact front, whatever the camera."""

    def sketched(self, cameras: Cameras) -> Tensor:
        """Latents (B, C, h, w) of what the words let one expect, the same for all B cameras."""
        words = self.features[REFERENCE_VIEW].expand(len(cameras), -1, -1)
        return self.prior.sketched(words, torch.zeros(len(cameras), CAMERA_FEATURES, device=words.device))

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        return self._guided(noisy, timesteps, self.features[REFERENCE_VIEW].expand(len(noisy), -1, -1))


class ReferenceGuidance:
    """The 3D use: the reference picture and the camera relative to it, classifier-free guidance over both.

    Args:
        reference: (1, H, W, 3) the framed reference picture, its camera at azimuth 0 and elevation 0.
    """

    def __init__(self, prior: EmbeddedPrior, reference: Tensor, scale: float) -> None:
        self.prior = prior
        self.scale = scale
        self.alphas_cumprod = prior.alphas_cumprod
        with torch.no_grad():
            self.reference = prior.latents.encode(reference)
            self.nothing = prior.encode_words([""])

    def encode(self, pictures: Tensor) -> Tensor:
        return self.prior.latents.encode(pictures)

    def sketched(self, cameras: Cameras) -> Tensor:
        """Latents (B, C, h, w) of what the reference lets one expect from B cameras."""
        count = len(cameras)
        camera = camera_features(cameras.azimuth, cameras.elevation, with_reference=True).to(self.reference)
        return self.prior.sketched(self.nothing.expand(count, -1, -1), camera, self.reference.expand(count, -1, -1, -1))

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        batch = len(noisy)
        camera = camera_features(cameras.azimuth.to(noisy), cameras.elevation.to(noisy), with_reference=True)
        no_camera = torch.zeros_like(camera)
        no_camera[:, 0] = camera[:, 0]  # still the 3D use
        reference = self.reference.expand(batch, -1, -1, -1)
        without, seen = self.prior.predict_noise(
            torch.cat([noisy, noisy]),
            torch.cat([timesteps, timesteps]),
            self.nothing.expand(2 * batch, -1, -1),
            torch.cat([no_camera, camera]),
            torch.cat([torch.zeros_like(reference), reference]),
        ).chunk(2)
        return classifier_free(without, seen, self.scale)
