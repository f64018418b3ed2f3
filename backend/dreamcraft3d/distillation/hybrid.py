"""Hybrid score distillation: SDS by a 2D prior on words, 3D-SDS by a prior on the reference picture, weighed by mu."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras


@dataclass(frozen=True)
class Hybrid:
    """L_SDS + mu L_3D-SDS (paper: mu = 2).

    Attributes:
        flat: the 2D prior, on words.
        view: the 3D prior, on the reference picture.
    """

    flat: Guidance
    view: Guidance
    mu: float = 2.0

    def loss(
        self,
        pictures: Tensor,
        cameras: Cameras,
        timesteps: Tensor,
        generator: torch.Generator,
        view_timesteps: Tensor | None = None,
    ) -> Tensor:
        """A scalar; arguments as in :func:`sds_loss`. The 3D term has the same timesteps if it is given none."""
        words = sds_loss(pictures, self.flat, cameras, timesteps, generator)
        if not self.mu:
            return words
        return words + self.view_term(
            pictures, cameras, timesteps if view_timesteps is None else view_timesteps, generator
        )

    def view_term(self, pictures: Tensor, cameras: Cameras, timesteps: Tensor, generator: torch.Generator) -> Tensor:
        """mu L_3D-SDS alone, a scalar."""
        return self.mu * sds_loss(pictures, self.view, cameras, timesteps, generator)
