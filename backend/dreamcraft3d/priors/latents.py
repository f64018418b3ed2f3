"""Linear latents: principal components of square colour patches.

Nearly lossless on the embedded priors' toy pictures, exact in their gradient, and free: one strided convolution.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


class PatchLatents(nn.Module):
    """Pictures (B, H, W, 3) in [0, 1] to latents (B, C, size/patch, size/patch) and back.

    Args:
        basis: (3 * patch**2, C) orthonormal principal directions of patches of pictures in [-1, 1].
        mean: (3 * patch**2,) mean patch.
        scale: (C,) factor on each component.
        size: side of the pictures encoded; others are resized to it.
    """

    basis: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, basis: Tensor, mean: Tensor, scale: Tensor, size: int = 128) -> None:
        super().__init__()
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.size = size
        self.patch = round((len(mean) / 3) ** 0.5)

    @staticmethod
    def fit(pictures: Tensor, components: int, patch: int) -> PatchLatents:
        """Principal components of all patches of pictures (N, H, W, 3) in [0, 1].

        Each component is divided by the square root of its deviation: half-way between plain pixels, where fine detail
        would drown in noise at every timestep, and whitening, which would make it as hard to predict as the shape. All
        are then scaled so that their mean variance is 1, as the noise's is.
        """
        patches = F.pixel_unshuffle(pictures.permute(0, 3, 1, 2) * 2 - 1, patch)
        patches = patches.permute(0, 2, 3, 1).reshape(-1, 3 * patch * patch)
        mean = patches.mean(dim=0)
        covariance = torch.cov(patches.T)
        variance, directions = torch.linalg.eigh(covariance.double())
        order = variance.argsort(descending=True)[:components]
        deviation = variance[order].clamp(min=1e-8).sqrt().float()
        scale = 1 / (deviation * deviation.mean()).sqrt()
        return PatchLatents(directions[:, order].float(), mean, scale, pictures.shape[1])

    @property
    def pixel_weights(self) -> Tensor:
        """(C, 1, 1) how much a component's squared error counts in the picture's, 1 on average."""
        weights = 1 / self.scale.square()
        return (weights / weights.mean())[:, None, None]

    def encode(self, pictures: Tensor) -> Tensor:
        """Latents (B, C, h, w); differentiable."""
        channels_first = pictures.permute(0, 3, 1, 2) * 2 - 1
        if channels_first.shape[-1] != self.size:
            channels_first = F.interpolate(
                channels_first, (self.size, self.size), mode="bilinear", antialias=channels_first.shape[-1] > self.size
            )
        patches = F.pixel_unshuffle(channels_first, self.patch) - self.mean[:, None, None]
        return torch.einsum("bphw,pc->bchw", patches, self.basis * self.scale)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (B, size, size, 3); values may leave [0, 1] slightly."""
        patches = torch.einsum("bchw,pc->bphw", latents, self.basis / self.scale) + self.mean[:, None, None]
        return (F.pixel_shuffle(patches, self.patch).permute(0, 2, 3, 1) + 1) / 2

    def thumbnail(self, latents: Tensor, cells: int = 2) -> Tensor:
        """What is left of latents (B, C, h, w) in a picture of h * cells by w * cells pixels, as patches.

        (B, 3 * cells**2, h, w): the mean colours of each patch's cells, in [-1, 1], less those of the mean patch, as
        ``pixel_unshuffle`` orders them. Those of no picture, zeros, are zeros.
        """
        coarse = self._coarse((self.basis / self.scale).T, cells)
        return torch.einsum("bchw,ck->bkhw", latents, coarse)

    def small_thumbnail(self, pictures: Tensor, cells: int = 2) -> Tensor:
        """The same of pictures (B, h * cells, w * cells, 3) in [0, 1] that are already as small as that."""
        patches = F.pixel_unshuffle(pictures.permute(0, 3, 1, 2) * 2 - 1, cells)
        return patches - self._coarse(self.mean[None], cells)[0, :, None, None]

    def picture_of(self, thumbnails: Tensor) -> Tensor:
        """Pictures (B, size, size, 3) in [0, 1] of thumbnails in patches (B, 3 * cells**2, h, w), enlarged."""
        cells = round((thumbnails.shape[1] / 3) ** 0.5)
        small = F.pixel_shuffle(thumbnails + self._coarse(self.mean[None], cells)[0, :, None, None], cells)
        large = F.interpolate((small + 1) / 2, (self.size, self.size), mode="bicubic")
        return large.permute(0, 2, 3, 1).clamp(0, 1)

    def _coarse(self, patches: Tensor, cells: int) -> Tensor:
        """(N, 3 * cells**2) mean colours of the cells of patches (N, 3 * patch**2)."""
        return F.avg_pool2d(patches.unflatten(1, (3, self.patch, self.patch)), self.patch // cells).flatten(1)

    def save(self, path: Path) -> None:
        save_file(
            {"basis": self.basis.contiguous(), "mean": self.mean, "scale": self.scale}, path, {"size": str(self.size)}
        )

    @staticmethod
    def load(path: Path) -> PatchLatents:
        """What :meth:`save` wrote."""
        with safe_open(path, "pt") as file:
            basis, mean, scale = (file.get_tensor(name) for name in ("basis", "mean", "scale"))
            return PatchLatents(basis, mean, scale, int(file.metadata()["size"]))
