"""Grain is taken from a drawing, its edges stay."""

from __future__ import annotations

import torch

from dreamcraft3d.picture.grain import without_grain


def test_flat_surfaces_become_flat_and_edges_stay_where_they_are() -> None:
    clean = torch.ones(64, 64, 3)
    clean[16:48, 16:48] = torch.tensor([0.7, 0.2, 0.1])
    grain = 0.03 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    drawn = (clean + grain).clamp(0, 1)
    calm = without_grain(drawn)
    assert (calm - clean).square().mean() < 0.3 * (drawn - clean).square().mean()
    assert torch.equal(calm[..., 1] > 0.6, clean[..., 1] > 0.6)
    assert calm.min() >= 0
    assert calm.max() <= 1
