"""The embedded model as all the priors of a run."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dreamcraft3d.priors.adapted import AdaptedGuidance
from dreamcraft3d.priors.embedded import EmbeddedPrior, ReferenceGuidance, WordsGuidance
from dreamcraft3d.priors.words import NORMAL_MAP, without_colours


@dataclass(frozen=True)
class EmbeddedPriors:
    """One UNet for every use; see ``priors/base.py: Priors``."""

    prior: EmbeddedPrior

    def words(self, prompt: str, scale: float) -> WordsGuidance:
        return WordsGuidance(self.prior, prompt, scale)

    def normals(self, prompt: str, scale: float) -> WordsGuidance:
        """It was trained on normal maps, too, under words of their own."""
        return WordsGuidance(self.prior, f"{NORMAL_MAP} {without_colours(prompt)}", scale)

    def view(self, reference: Tensor, scale: float) -> ReferenceGuidance:
        return ReferenceGuidance(self.prior, reference, scale)

    def painter(self, prompt: str, scale: float) -> WordsGuidance:
        return WordsGuidance(self.prior, prompt, scale)

    def dreambooth(self, prompt: str, scale: float) -> AdaptedGuidance:
        return AdaptedGuidance(self.prior, prompt, scale)

    def lora(self, prompt: str, rank: int) -> AdaptedGuidance:
        return AdaptedGuidance(self.prior, prompt, 1.0, rank)
