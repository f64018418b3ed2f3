"""Words and camera as a picture plan: feature maps that tell the UNet what is likely where, before it has looked."""

from __future__ import annotations

import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class Layout(ModelMixin, ConfigMixin):
    """Maps decoded from the conditions by two linear layers.

    Under strong noise, a UNet whose conditions only scale and shift its channels draws the same round blob for every
    noun: nothing in it can put a shape anywhere but the attention of its small inner maps, whose queries are noise.

    Args:
        conditions: how many numbers describe words and camera.
        channels: of the maps.
        cells: side of the maps as decoded; they are then interpolated to the latents' size.
    """

    @register_to_config
    def __init__(self, conditions: int, channels: int = 16, cells: int = 8, width: int = 256) -> None:
        super().__init__()
        self.shape = (channels, cells, cells)
        self.maps = nn.Sequential(nn.Linear(conditions, width), nn.SiLU(), nn.Linear(width, channels * cells * cells))

    def forward(self, conditions: Tensor, size: int) -> Tensor:
        """(B, channels, size, size) of conditions (B, conditions)."""
        maps = self.maps(conditions).unflatten(1, self.shape)
        return F.interpolate(maps, (size, size), mode="bilinear")
