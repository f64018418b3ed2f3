"""Textures: lookup, and smaller copies."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

FINENESS = 2
"""Texels of a texture to look at for each pixel of a render, along a side: finer ones would only flicker."""


def for_renders(texture: Tensor, size: int) -> Tensor:
    """A copy of a texture (H, W, C) as fine as pictures of ``size`` pixels can show."""
    return shrunk(texture, FINENESS * size)


def shrunk(texture: Tensor, side: int) -> Tensor:
    """A copy of a texture (H, W, C) whose longer side is at most ``side`` texels, each the mean of those it stands for."""
    height, width = size_within(texture.shape[0], texture.shape[1], side)
    if (height, width) == tuple(texture.shape[:2]):
        return texture
    return F.interpolate(texture.permute(2, 0, 1)[None], (height, width), mode="area")[0].permute(1, 2, 0)


def size_within(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width in the same proportion, the longer at most ``side``."""
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear lookup, differentiable in both; past the border the texture's outermost texels go on.

    Args:
        texture: (H, W, C), row 0 at the top.
        uv: (P, 2) in [0, 1]: (0, 0) is the bottom left corner of the picture, (1, 1) the top right one; the centre of
            the texel in row r and column c lies at ((c + 0.5) / W, 1 - (r + 0.5) / H).

    Returns:
        (P, C).
    """
    grid = (uv * 2 - 1) * uv.new_tensor([1.0, -1.0])
    found = F.grid_sample(
        texture.permute(2, 0, 1)[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T
