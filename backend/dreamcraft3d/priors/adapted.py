"""The embedded prior adapted to one object: DreamBooth and LoRA, both told the camera.

Bootstrapped score distillation needs two models beside the frozen one: one that has learnt this very object from its
restored renders (DreamBooth: every weight trained, an identifier in the prompt) and one that follows the present
renders (LoRA on the attention layers, by ``peft``). Both take the camera through the UNet's class embedding, whose
flag for the 3D use stays off.
"""

from __future__ import annotations

import copy

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor, nn

from dreamcraft3d.priors.embedded import VIEW_WORDS, EmbeddedPrior, camera_features
from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.words import view_words
from dreamcraft3d.render.camera import Cameras


class AdaptedGuidance:
    """A trainable, camera-conditioned copy of the 2D prior under one prompt.

    Args:
        prior: the frozen model; its text encoder and latents are shared, its UNet copied.
        prompt: without view words, which follow the camera.
        scale: classifier-free guidance scale of :meth:`predict_noise`; 1 predicts for the prompt alone.
        lora_rank: None trains every weight of the copy, a number only low-rank additions and the camera's embedding.
        camera: whether it is told the cameras; if not, it knows of them what the view words say.
        negative: what guidance leads away from, or no words.
    """

    def __init__(
        self,
        prior: EmbeddedPrior,
        prompt: str,
        scale: float,
        lora_rank: int | None = None,
        camera: bool = True,
        negative: str = "",
    ) -> None:
        self.camera = camera
        self.prior = copy.copy(prior)
        self.prior._modules = dict(prior._modules)
        self.unet: UNet2DConditionModel = copy.deepcopy(prior.unet)
        self.prior.unet = self.unet
        self.unet.requires_grad_(lora_rank is None)
        self.scale = scale
        self.alphas_cumprod = prior.alphas_cumprod
        if lora_rank is not None:
            targets = ["to_q", "to_k", "to_v", "to_out.0"]
            config = LoraConfig(r=lora_rank, lora_alpha=lora_rank, target_modules=targets)
            with torch.random.fork_rng():  # peft draws from the global generator; every run shall begin alike
                torch.manual_seed(0)
                self.unet.add_adapter(config)
            self.unet.class_embedding.requires_grad_(True)
        with torch.no_grad():
            texts = [f"{prompt}, {view}" for view in VIEW_WORDS] + [negative]
            self.features = dict(zip((*VIEW_WORDS, ""), prior.encode_words(texts), strict=True))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def state_dict(self) -> dict[str, Tensor]:
        """The trained weights only."""
        return {name: p.detach() for name, p in self.unet.named_parameters() if p.requires_grad}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.unet.load_state_dict(state, strict=False)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.prior.latents.encode(pictures)

    def at_scale(self, scale: float) -> AdaptedGuidance:
        made = copy.copy(self)
        made.scale = scale
        return made

    def _words(self, cameras: Cameras) -> Tensor:
        views = [view_words(a, e) for a, e in zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)]
        return torch.stack([self.features[view] for view in views])

    def _features(self, cameras: Cameras, like: Tensor) -> Tensor:
        """What the UNet is told of B cameras; zeros are no camera."""
        features = camera_features(cameras.azimuth.to(like), cameras.elevation.to(like), with_reference=False)
        return features if self.camera else torch.zeros_like(features)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        words = self._words(cameras)
        camera = self._features(cameras, noisy)
        if self.scale == 1:
            return self.prior.predict_noise(noisy, timesteps, words, camera)
        nothing = self.features[""].expand_as(words)
        without, with_words = self.prior.predict_noise(
            torch.cat([noisy] * 2), torch.cat([timesteps] * 2), torch.cat([nothing, words]), torch.cat([camera] * 2)
        ).chunk(2)
        return classifier_free(without, with_words, self.scale)

    def loss(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
        """Denoising loss on encoded pictures (B, C, h, w) seen by B cameras, a scalar."""
        camera = self._features(cameras, clean)
        return self.prior.denoising_loss(clean, self._words(cameras), camera, generator)
