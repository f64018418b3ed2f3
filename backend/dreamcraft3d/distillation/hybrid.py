"""Hybrid score distillation: a 2D prior on words and a 3D prior on the reference picture, weighed by mu."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamcraft3d.distillation.sds import distillation_loss
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


@dataclass(frozen=True)
class Hybrid:
    """L_2D + mu L_3D (paper: mu = 2).

    Attributes:
        flat: the 2D prior, on words.
        view: the 3D prior, on the reference picture.
    """

    flat: Guidance
    view: Guidance
    mu: float = 2.0

    def loss(self, pictures: Tensor, cameras: Cameras, timesteps: Tensor, generator: torch.Generator) -> Tensor:
        """A scalar; arguments as in :func:`distillation_loss`."""
        words = distillation_loss(pictures, self.flat, cameras, timesteps, generator)
        if not self.mu:
            return words
        return words + self.mu * distillation_loss(pictures, self.view, cameras, timesteps, generator)
