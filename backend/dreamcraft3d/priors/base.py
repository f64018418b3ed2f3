"""What a diffusion model is to the rest of the house."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dreamcraft3d.render.camera import Cameras


class Guidance(Protocol):
    """A prior together with what it was asked for: a prompt, or a reference picture.

    Score distillation needs no more of a model than this.
    """

    alphas_cumprod: Tensor
    """(T,) the schedule's cumulative products of alphas, falling."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] to the space the model works in, (B, C, h, w); differentiable."""
        ...

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        """The guided noise prediction for x_t (B, C, h, w) at timesteps (B,) int64, seen by B cameras; no gradient."""
        ...
