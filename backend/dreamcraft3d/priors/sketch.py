"""The expected picture: what words, camera and reference let one foretell before any noise has been looked at."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class Sketch(ModelMixin, ConfigMixin):
    """A multilayer perceptron from conditions to the mean of all pictures that fit them, at 32 px.

    A diffusion model has to learn this mean too: it is its answer under the strongest noise. But a convolutional UNet on
    a few thousand steps learns it badly (nothing in it puts a shape anywhere but the attention of its small inner
    maps), while regression by a dense network learns it in minutes. So it is learnt first, on its own, and then shown
    to the UNet, which refines it.

    Pictures are given in patches, see :meth:`PatchLatents.thumbnail`, and worked on as principal components.

    Args:
        conditions: how many numbers describe words and camera.
        shape: of a thumbnail in patches.
        components: how many principal components a thumbnail is described by.
        width: of the hidden layers.
        blocks: how many residual blocks.
    """

    basis: Tensor
    scale: Tensor

    @register_to_config
    def __init__(
        self,
        conditions: int,
        shape: tuple[int, int, int] = (12, 16, 16),
        components: int = 128,
        width: int = 512,
        blocks: int = 3,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        pixels = shape[0] * shape[1] * shape[2]
        self.register_buffer("basis", torch.eye(pixels, components))
        self.register_buffer("scale", torch.ones(1))
        self.steering = nn.Sequential(nn.Linear(conditions, 128), nn.SiLU())
        self.first = nn.Linear(components + conditions, width)
        self.residuals = nn.ModuleList([_Block(width, 128) for _ in range(blocks)])
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, components))

    @torch.no_grad()
    def fit(self, thumbnails: Tensor) -> None:
        """Take the principal components of thumbnails (N, 12, 16, 16), their mean among them."""
        flat = thumbnails.flatten(1)
        _, _, basis = torch.svd_lowrank(flat, q=self.basis.shape[1], niter=4)
        self.basis.copy_(basis)
        self.scale.fill_((flat @ basis).std(dim=0).mean())

    def components(self, thumbnails: Tensor) -> Tensor:
        """(B, C) principal components of thumbnails (B, 12, 16, 16); those of zeros are zeros."""
        return thumbnails.flatten(1) @ self.basis / self.scale

    def foretell(self, conditions: Tensor, reference: Tensor) -> Tensor:
        """The expected components (B, C), from conditions (B, D) and the reference's thumbnail, zeros for none."""
        steering = self.steering(conditions)
        hidden = self.first(torch.cat([self.components(reference), conditions], dim=1))
        for block in self.residuals:
            hidden = block(hidden, steering)
        components: Tensor = self.last(hidden)
        return components

    def forward(self, conditions: Tensor, reference: Tensor) -> Tensor:
        """The expected thumbnail (B, 12, 16, 16), of the same as :meth:`foretell`."""
        return (self.foretell(conditions, reference) * self.scale @ self.basis.T).unflatten(1, self.shape)


class _Block(nn.Module):
    """A residual block, its normalised input scaled and shifted by the conditions."""

    def __init__(self, width: int, conditions: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.steer = nn.Linear(conditions, 2 * width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)

    def forward(self, hidden: Tensor, steering: Tensor) -> Tensor:
        scale, shift = self.steer(steering).chunk(2, dim=1)
        inner = F.silu(self.inner(self.norm(hidden) * (1 + scale) + shift))
        return hidden + self.outer(inner)
