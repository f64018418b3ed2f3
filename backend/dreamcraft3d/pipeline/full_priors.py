"""Full-size models as the priors of a run: DeepFloyd IF and Zero-1-to-3 for the shape, Stable Diffusion for the texture.

A model is read from its folder when it is first asked. The shape's and the texture's are never in memory together: whoever
asks for the one kind lets go of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.picture.text_to_image import pictures_of_words
from dreamcraft3d.priors.adapted_stable_diffusion import AdaptedStableDiffusion
from dreamcraft3d.priors.base import Drawing
from dreamcraft3d.priors.deepfloyd import DeepFloyd, DeepFloydGuidance, encode_prompt
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.priors.stable_diffusion import StableDiffusion, StableDiffusionGuidance
from dreamcraft3d.priors.zero123 import Zero123, Zero123Guidance, Zero123Kind
from dreamcraft3d.render.camera import Cameras

PICTURE_SIZE = 512
FRONT = "front view, whole, centered, on a plain white background"


class FullPriors:
    """See ``priors/base.py: Priors``.

    Args:
        flat, view, texture, picture: folders in the diffusers layout: of DeepFloyd IF's first stage, of a Zero-1-to-3
            model, of a Stable Diffusion, and of any text-to-image model.
        kind: which Zero-1-to-3 model it is; None where its folder says so.
        device: where they work; frozen weights are bfloat16 on a graphics card and float32 elsewhere.
        cache: folder of the text embeddings; None is the user's.

    Attributes:
        held: the models in memory, by role.
    """

    def __init__(
        self,
        flat: Path,
        view: Path,
        texture: Path,
        picture: Path,
        kind: Zero123Kind | None,
        device: torch.device,
        cache: Path | None = None,
    ) -> None:
        self.folders = {"flat": flat, "view": view, "texture": texture, "picture": picture}
        self.kind = kind
        self.device = device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.cache = cache
        self.held: dict[str, Any] = {}

    @property
    def picture_size(self) -> int:
        return PICTURE_SIZE

    def check_prompt(self, prompt: str) -> str:
        """Any words will do."""
        return prompt

    def draw(self, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """By the text-to-image model, in the order in which they were drawn."""
        words = f"{prompt}, {FRONT}"
        return pictures_of_words(
            self.folders["picture"], words, wish.count, generator, self.device, self.dtype, wish.steps, wish.scale
        )

    def redraw(self, picture: Tensor, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """By the painter."""
        guidance, front = self.painter(prompt, wish.scale), Cameras.at(0.0)
        noisy = noised(guidance, guidance.encode(picture), wish.start, generator)
        drawn = guidance.model.decode(restore(guidance, noisy, front, wish.start, wish.steps)).permute(0, 3, 1, 2)
        size = picture.shape[1:3]
        return F.interpolate(drawn, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)

    def words(self, prompt: str, scale: float) -> DeepFloydGuidance:
        """The prompt's embeddings first, so that the text encoder has gone before the model comes."""
        words = encode_prompt(self.folders["flat"], prompt, self.dtype, self.device, cache=self.cache)
        return DeepFloydGuidance(self._hold("flat", DeepFloyd.load), words, scale)

    def normals(self, prompt: str, scale: float) -> DeepFloydGuidance:
        """The same words: the model was shown no normal maps under words of their own."""
        return self.words(prompt, scale)

    def view(self, reference: Tensor, scale: float) -> Zero123Guidance:
        return Zero123Guidance(self._hold("view", Zero123.load, self.kind), reference, scale=scale)

    def painter(self, prompt: str, scale: float) -> StableDiffusionGuidance:
        return StableDiffusionGuidance(self._texture, prompt, scale)

    def dreambooth(self, prompt: str, scale: float, rank: int | None) -> AdaptedStableDiffusion:
        return AdaptedStableDiffusion(self._texture, prompt, scale, rank)

    def lora(self, prompt: str, rank: int) -> AdaptedStableDiffusion:
        return AdaptedStableDiffusion(self._texture, prompt, 1.0, rank)

    @property
    def _texture(self) -> StableDiffusion:
        held: StableDiffusion = self._hold("texture", StableDiffusion.load)
        return held

    def _hold(self, role: str, load: Callable[..., Any], *more: Any) -> Any:
        for other in [name for name in self.held if (name == "texture") != (role == "texture")]:
            del self.held[other]
        if role not in self.held:
            self.held[role] = load(self.folders[role], self.dtype, self.device, *more)
        return self.held[role]
