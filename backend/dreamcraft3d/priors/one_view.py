"""Guidances that are asked for one view at a time: a batch's answers and gradients in the memory of one view."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dreamcraft3d.priors.base import Adapted, Guidance
from dreamcraft3d.render.camera import Cameras


class OneView:
    """A guidance (see ``priors/base.py``) that never sees more than one picture.

    What encoding a picture leaves for the backward pass is computed again there, for one picture after the other.
    """

    def __init__(self, guidance: Guidance) -> None:
        self.guidance = guidance
        self.alphas_cumprod = guidance.alphas_cumprod

    def encode(self, pictures: Tensor) -> Tensor:
        encode = self.guidance.encode
        return torch.cat([checkpoint(encode, picture, use_reentrant=False) for picture in pictures.split(1)])

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        ask = self.guidance.predict_noise
        return torch.cat([ask(noisy[[i]], timesteps[[i]], cameras[[i]]) for i in range(len(noisy))])


class OneViewAdapted(OneView):
    """The same for one that learns: its loss is the mean of the pictures' losses, each with a generator of its own."""

    guidance: Adapted

    @property
    def parameters(self) -> list[nn.Parameter]:
        return self.guidance.parameters

    def loss(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
        seeds = torch.randint(1 << 62, (len(clean),), generator=generator).tolist()
        losses = [
            checkpoint(self._loss, clean[[i]], cameras[[i]], seed, use_reentrant=False) for i, seed in enumerate(seeds)
        ]
        return torch.stack(losses).mean()

    def at_scale(self, scale: float) -> Guidance:
        return OneView(self.guidance.at_scale(scale))

    def _loss(self, clean: Tensor, cameras: Cameras, seed: int) -> Tensor:
        return self.guidance.loss(clean, cameras, torch.Generator().manual_seed(seed))

    def state_dict(self) -> dict[str, Tensor]:
        return self.guidance.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.guidance.load_state_dict(state)
