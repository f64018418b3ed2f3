"""Texture lookup."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
