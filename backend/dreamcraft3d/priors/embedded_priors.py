"""The embedded model as all the priors of a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamcraft3d.priors import embedded_drawing
from dreamcraft3d.priors.adapted import AdaptedGuidance
from dreamcraft3d.priors.base import Adapted, Copied, Drawing, Guidance
from dreamcraft3d.priors.embedded import EmbeddedPrior, ReferenceGuidance, WordsGuidance
from dreamcraft3d.priors.memory import NO_MEANS, Means
from dreamcraft3d.priors.one_view import OneView, OneViewAdapted
from dreamcraft3d.priors.words import NORMAL_MAP, check_words, without_colours


@dataclass(frozen=True)
class EmbeddedPriors:
    """One UNet for every use; see ``priors/base.py: Priors``.

    Attributes:
        means: to need less memory; of these, one view at a time.
        negative: what guidance leads away from, or no words. The 3D prior, which knows no words, is not led.
    """

    prior: EmbeddedPrior
    means: Means = NO_MEANS
    negative: str = ""

    @property
    def picture_size(self) -> int:
        return self.prior.latents.size

    def check_prompt(self, prompt: str) -> str:
        return check_words(prompt, self.prior.tokenizer.get_vocab()).text

    def draw(self, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        return embedded_drawing.best_first(self.prior, prompt, wish, generator, self.negative)

    def redraw(self, picture: Tensor, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        return embedded_drawing.redraw(self.prior, picture, prompt, wish, generator, self.negative)

    def palette(self, drawn: Tensor, prompt: str) -> Tensor:
        return embedded_drawing.undulled(drawn, prompt)

    def tinted(self, drawn: Tensor, prompt: str) -> Tensor:
        return embedded_drawing.tinted(drawn, prompt)

    def words(self, prompt: str, scale: float) -> Guidance:
        return self._asked(WordsGuidance(self.prior, prompt, scale, self.negative))

    def normals(self, prompt: str, scale: float) -> Guidance:
        """It was trained on normal maps, too, under words of their own."""
        return self._asked(WordsGuidance(self.prior, f"{NORMAL_MAP} {without_colours(prompt)}", scale))

    def view(self, reference: Tensor, scale: float) -> Guidance:
        return self._asked(ReferenceGuidance(self.prior, reference, scale))

    def painter(self, prompt: str, scale: float) -> Guidance:
        return self._asked(WordsGuidance(self.prior, prompt, scale, self.negative))

    def decode(self, encoded: Tensor) -> Tensor:
        return self.prior.latents.decode(encoded).clamp(0, 1)

    def dreambooth(self, prompt: str, scale: float, copied: Copied) -> Adapted:
        """It can preserve nothing and is float32, and presets are held to that."""
        return self._taught(AdaptedGuidance(self.prior, prompt, scale, copied.rank, copied.camera, self.negative))

    def lora(self, prompt: str, copied: Copied) -> Adapted:
        return self._taught(AdaptedGuidance(self.prior, prompt, 1.0, copied.rank, copied.camera))

    def _asked(self, guidance: Guidance) -> Guidance:
        return OneView(guidance) if self.means.one_view else guidance

    def _taught(self, adapted: Adapted) -> Adapted:
        return OneViewAdapted(adapted) if self.means.one_view else adapted
