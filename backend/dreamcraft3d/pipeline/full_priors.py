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
from accelerate import cpu_offload_with_hook
from torch import Tensor

from dreamcraft3d.picture.text_to_image import pictures_of_words
from dreamcraft3d.priors.adapted_stable_diffusion import AdaptedStableDiffusion, ClassPictures
from dreamcraft3d.priors.base import Adapted, Copied, Drawing, Guidance
from dreamcraft3d.priors.deepfloyd import DeepFloyd, DeepFloydGuidance, encode_prompt
from dreamcraft3d.priors.memory import NO_MEANS, Means, free_memory
from dreamcraft3d.priors.one_view import OneView, OneViewAdapted
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.priors.stable_diffusion import StableDiffusion, StableDiffusionGuidance
from dreamcraft3d.priors.words import class_noun, with_article
from dreamcraft3d.priors.zero123 import Zero123, Zero123Guidance, Zero123Kind
from dreamcraft3d.render.camera import Cameras

PICTURE_SIZE = 512
CLASS_SCALE, CLASS_STEPS = 7.5, 25
FRONT = "front view, whole, centered, on a plain white background"


class FullPriors:
    """See ``priors/base.py: Priors``.

    Args:
        flat, view, texture, picture: folders in the diffusers layout: of DeepFloyd IF's first stage, of a Zero-1-to-3
            model, of a Stable Diffusion, and of any text-to-image model.
        kind: which Zero-1-to-3 model it is; None where its folder says so.
        device: where they work.
        means: to need less memory.
        perp_neg: whether DeepFloyd IF is pushed away from the views that are not seen.
        cache: folder of the text embeddings; None is the user's.
        negative: what guidance leads away from, or no words. The 3D prior, which knows no words, is not led.

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
        means: Means = NO_MEANS,
        perp_neg: bool = True,
        cache: Path | None = None,
        negative: str = "",
    ) -> None:
        self.folders = {"flat": flat, "view": view, "texture": texture, "picture": picture}
        self.kind = kind
        self.device = device
        self.means = means
        self.perp_neg = perp_neg
        self.dtype = torch.bfloat16 if means.half else torch.float32
        self.words_device = torch.device("cpu") if means.words_elsewhere else device
        self.cache = cache
        self.negative = negative
        self.held: dict[str, Any] = {}
        self.visits: dict[str, Any] = {}

    @property
    def picture_size(self) -> int:
        return PICTURE_SIZE

    def check_prompt(self, prompt: str) -> str:
        """Any words will do."""
        return prompt

    def draw(self, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """By the text-to-image model, in the order in which they were drawn."""
        words = f"{prompt}, {FRONT}"
        how = self.device, self.dtype, wish.steps, wish.scale, self.negative
        return pictures_of_words(self.folders["picture"], words, wish.count, generator, *how)

    def redraw(self, picture: Tensor, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """By the painter."""
        guidance, front = self.painter(prompt, wish.scale), Cameras.at(0.0)
        noisy = noised(guidance, guidance.encode(picture), wish.start, generator)
        drawn = self.decode(restore(guidance, noisy, front, wish.start, wish.steps)).permute(0, 3, 1, 2)
        size = picture.shape[1:3]
        return F.interpolate(drawn, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)

    def palette(self, drawn: Tensor, prompt: str) -> Tensor:
        """As they were drawn."""
        return drawn

    def tinted(self, drawn: Tensor, prompt: str) -> Tensor:
        """As they were drawn."""
        return drawn

    def words(self, prompt: str, scale: float) -> Guidance:
        """The prompt's embeddings first, so that the text encoder has gone before the model comes."""
        words = encode_prompt(
            self.folders["flat"], prompt, self.dtype, self.words_device, cache=self.cache, negative=self.negative
        )
        here = {view: each.to(self.device) for view, each in words.items()}
        return self._asked(DeepFloydGuidance(self._hold("flat", DeepFloyd.load), here, scale, self.perp_neg))

    def normals(self, prompt: str, scale: float) -> Guidance:
        """The same words: the model was shown no normal maps under words of their own."""
        return self.words(prompt, scale)

    def view(self, reference: Tensor, scale: float) -> Guidance:
        return self._asked(Zero123Guidance(self._hold("view", Zero123.load, self.kind), reference, scale=scale))

    def painter(self, prompt: str, scale: float) -> Guidance:
        return self._asked(StableDiffusionGuidance(self._texture, prompt, scale, self.negative))

    def decode(self, encoded: Tensor) -> Tensor:
        """One by one: an autoencoder's decoder takes as much memory as anything."""
        return torch.cat([self._texture.decode(each) for each in encoded.split(1)])

    def dreambooth(self, prompt: str, scale: float, copied: Copied) -> Adapted:
        preserve = self._class_pictures(prompt, copied.preserved) if copied.preserved else None
        how = copied.rank, preserve, copied.camera, copied.half, self.negative
        return self._taught(AdaptedStableDiffusion(self._texture, prompt, scale, *how))

    def lora(self, prompt: str, copied: Copied) -> Adapted:
        how = copied.rank, None, copied.camera, copied.half
        return self._taught(AdaptedStableDiffusion(self._texture, prompt, 1.0, *how))

    def _class_pictures(self, prompt: str, count: int) -> ClassPictures:
        """The same at every start, so that a run that goes on is reminded of the same pictures."""
        words, generator = with_article(class_noun(prompt)), torch.Generator().manual_seed(0)
        return ClassPictures.draw(self._texture, words, count, CLASS_SCALE, CLASS_STEPS, generator)

    @property
    def _texture(self) -> StableDiffusion:
        held: StableDiffusion = self._hold("texture", StableDiffusion.load, self.words_device)
        return held

    def _asked(self, guidance: Guidance) -> Guidance:
        return OneView(guidance) if self.means.one_view else guidance

    def _taught(self, adapted: Adapted) -> Adapted:
        return OneViewAdapted(adapted) if self.means.one_view else adapted

    def _hold(self, role: str, load: Callable[..., Any], *more: Any) -> Any:
        others = [name for name in self.held if (name == "texture") != (role == "texture")]
        for other in others:
            del self.held[other]
            self.visits.pop(other, None)
        if others:
            free_memory()
        if role not in self.held:
            self.held[role] = load(self.folders[role], self.dtype, self.device, *more)
            if self.means.checkpointing:
                _checkpoint(self.held[role])
            if self.means.offload and role != "texture":
                self._send_away(role)
        return self.held[role]

    def _send_away(self, role: str) -> None:
        """To the computer's memory goes a model's UNet; when asked, it comes to the device and sends the other one away."""
        _, visit = cpu_offload_with_hook(self.held[role].unet, self.device)
        for other in self.visits.values():
            visit.hook.prev_module_hook, other.hook.prev_module_hook = other, visit
        self.visits[role] = visit


def _checkpoint(model: Any) -> None:
    """What a backward pass needs of a model's networks is computed again there."""
    for network in (model.unet, getattr(model, "vae", None)):
        if network is not None:
            network.enable_gradient_checkpointing()
