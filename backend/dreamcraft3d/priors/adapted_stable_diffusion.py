"""Stable Diffusion adapted to one object: DreamBooth and LoRA, both told the camera.

The counterpart of ``priors/adapted.py`` for full-size models. A camera is its 16 numbers of the camera-to-world matrix,
which a small network adds to the UNet's timestep embedding. Its last layer starts at zero, so that an untrained copy
predicts as the base does.

What is trained is kept in float32: at a learning rate of 1e-5, updates of half-precision weights round away. A full copy
computes in bfloat16 where the base is in half precision; or, where it is asked for, is in float16 altogether, as the
released code has it. LoRAs are adapters on the one UNet of the base, which takes no
more memory for two of them than for one.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import TimestepEmbedding
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.guided import classifier_free
from dreamcraft3d.priors.sampling import restore
from dreamcraft3d.priors.stable_diffusion import StableDiffusion, StableDiffusionGuidance, ViewWords, Words
from dreamcraft3d.render.camera import Cameras

CAMERA_NUMBERS = 16
_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
_CAMERA = "class_embedding."


class CameraEmbedding(TimestepEmbedding):
    """(B, 16) camera-to-world matrices to (B, width), zero before training."""

    def __init__(self, width: int) -> None:
        super().__init__(CAMERA_NUMBERS, width)
        nn.init.zeros_(self.linear_2.weight)
        nn.init.zeros_(self.linear_2.bias)

    def forward(self, sample: Tensor) -> Tensor:
        return super().forward(sample.to(self.linear_1.weight.dtype))


@dataclass(frozen=True)
class ClassPictures:
    """What a DreamBooth shall not forget: the class as the frozen model draws it (prior preservation).

    Attributes:
        prompt: the class without identifier: "a mushroom".
        latents: (N, 4, h, w) of drawn pictures.
        cameras: N, whose view words the pictures were drawn with. Which camera really sees them nobody knows, so that
            they are learnt with none.
        weight: of their loss.
    """

    prompt: str
    latents: Tensor
    cameras: Cameras
    weight: float = 1.0

    @staticmethod
    def draw(
        model: StableDiffusion, prompt: str, count: int, scale: float, steps: int, generator: torch.Generator
    ) -> ClassPictures:
        """``count`` pictures, drawn one by one from noise by the frozen model, from all around."""
        cameras = Cameras.ring(count)
        guidance = StableDiffusionGuidance(model, prompt, scale)
        side, channels = model.unet.config.sample_size, model.unet.config.in_channels
        noise = torch.randn(count, channels, side, side, generator=generator).to(model.device)
        drawn = [restore(guidance, noise[[i]], cameras[[i]], steps=steps) for i in range(count)]
        return ClassPictures(prompt, torch.cat(drawn), cameras)


class AdaptedStableDiffusion:
    """A trainable, camera-conditioned copy under one prompt.

    Args:
        model: the frozen model; words and autoencoder are shared with it, and its UNet with the LoRAs.
        prompt: without view words, which follow the camera.
        scale: classifier-free guidance scale of :meth:`predict_noise`; 1 predicts for the prompt alone.
        lora_rank: None trains every weight of a copy, a number only low-rank additions and the camera's embedding.
        preserve: pictures of the class, one of which joins each picture in :meth:`loss`.
        camera: whether it is told the cameras; if not, it knows of them what the view words say.
        half: whether all weights of a full copy are kept in float16.
        negative: what guidance leads away from, or no words.

    Raises:
        UserError: a LoRA on a float16 model, whose range is too small for gradients.
    """

    def __init__(
        self,
        model: StableDiffusion,
        prompt: str,
        scale: float,
        lora_rank: int | None = None,
        preserve: ClassPictures | None = None,
        camera: bool = True,
        half: bool = False,
        negative: str = "",
    ) -> None:
        if lora_rank is not None and model.dtype == torch.float16:
            raise UserError("A LoRA cannot be trained on a model in float16.", "Load the model in bfloat16 or float32.")
        self.model = model
        self.scale = scale
        self.alphas_cumprod = model.alphas_cumprod
        self.adapter: str | None = None
        with torch.random.fork_rng():  # layers draw from the global generator; every run shall begin alike
            torch.manual_seed(0)
            width = model.unet.time_embedding.linear_2.out_features
            self.camera = CameraEmbedding(width).to(model.device) if camera else None
            if lora_rank is not None:
                self.adapter = f"adapted_{len(getattr(model.unet, 'peft_config', {}))}"
                config = LoraConfig(r=lora_rank, lora_alpha=lora_rank, target_modules=_ATTENTION)
                with warnings.catch_warnings():  # that there may be another adapter is meant
                    warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
                    model.unet.add_adapter(config, self.adapter)
        if self.adapter is None:
            self._copy: Any = _trainable_copy(model.unet, self.camera)
            trained = self._copy.named_parameters()
        else:
            trained = model.wear(self.adapter, self.camera).named_parameters()
        self._trained = {name: p for name, p in trained if p.requires_grad}
        for parameter in self._trained.values():
            parameter.data = parameter.data.half() if half else parameter.data.float()
        self.words = ViewWords(model, prompt, negative)
        self.preserve = preserve
        if preserve is not None:
            self.class_words = ViewWords(model, preserve.prompt)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained, all of it of one precision."""
        return list(self._trained.values())

    @property
    def unet(self) -> Any:
        """The UNet as this copy has it, with gradients for what is trained."""
        return self._copy if self.adapter is None else self.model.wear(self.adapter, self.camera)

    def state_dict(self) -> dict[str, Tensor]:
        """The trained weights only."""
        if self.adapter is None:
            return {name: p.detach() for name, p in self._trained.items()}
        lora = get_peft_model_state_dict(self.model.unet, adapter_name=self.adapter)
        camera = {} if self.camera is None else {_CAMERA + name: p for name, p in self.camera.state_dict().items()}
        return {name: p.detach() for name, p in (lora | camera).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        if self.adapter is None:
            self._copy.load_state_dict(state)
            return
        if self.camera is not None:
            camera = {name.removeprefix(_CAMERA): p for name, p in state.items() if name.startswith(_CAMERA)}
            self.camera.load_state_dict(camera)
        lora = {name: p for name, p in state.items() if not name.startswith(_CAMERA)}
        set_peft_model_state_dict(self.model.unet, lora, self.adapter)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.model.encode(pictures)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        camera = self._numbers(cameras, noisy)
        if self.scale == 1:
            answer = self._answer(noisy, timesteps, self.words.of(cameras), camera)
            return self.model.as_noise(answer, noisy, timesteps)
        twice, steps = torch.cat([noisy] * 2), torch.cat([timesteps] * 2)
        answer = self._answer(
            twice, steps, self.words.without_and_with(cameras), None if camera is None else camera.repeat(2, 1)
        )
        without, with_words = self.model.as_noise(answer, twice, steps).chunk(2)
        return classifier_free(without, with_words, self.scale)

    def loss(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
        """Denoising loss on encoded pictures (B, 4, h, w) seen by B cameras, and on as many of the class; a scalar."""
        loss = self._denoising(clean, self.words.of(cameras), self._numbers(cameras, clean), generator)
        if self.preserve is None:
            return loss
        chosen = torch.randint(len(self.preserve.latents), (len(clean),), generator=generator)
        words = self.class_words.of(self.preserve.cameras[chosen])
        latents = self.preserve.latents.to(clean)[chosen]
        nowhere = None if self.camera is None else torch.zeros(len(clean), CAMERA_NUMBERS, device=clean.device)
        return loss + self.preserve.weight * self._denoising(latents, words, nowhere, generator)

    def at_scale(self, scale: float) -> AdaptedStableDiffusion:
        made = copy.copy(self)
        made.scale = scale
        return made

    def _numbers(self, cameras: Cameras, like: Tensor) -> Tensor | None:
        """(B, 16) camera-to-world matrices, row by row; None for a copy that is told no cameras."""
        return None if self.camera is None else cameras.c2w.flatten(1).to(like)

    def _denoising(self, clean: Tensor, words: Words, camera: Tensor | None, generator: torch.Generator) -> Tensor:
        """Mean squared error of the answer, at uniform timesteps."""
        timesteps = torch.randint(len(self.alphas_cumprod), (len(clean),), generator=generator).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        noisy = self.model.scheduler.add_noise(clean, noise, timesteps)
        answer = self._answer(noisy, timesteps, words, camera)
        return F.mse_loss(answer, self.model.target(clean, noise, timesteps))

    def _answer(self, noisy: Tensor, timesteps: Tensor, words: Words, camera: Tensor | None) -> Tensor:
        widest = next(iter(self._trained.values())).dtype == torch.float32
        mixed = self.adapter is None and self.model.dtype != torch.float32 and widest
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=mixed):
            return self.model.predict(self.unet, noisy, timesteps, words, camera)


def _trainable_copy(unet: Any, camera: CameraEmbedding | None) -> Any:
    """A float32 copy of a UNet, free of adapters, with a camera's embedding or none; all of it with gradients."""
    made = copy.deepcopy(unet)
    made.unload_lora()
    made.class_embedding = camera
    return made.float().requires_grad_(True)
