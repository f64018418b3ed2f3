"""Colours take the palette of another picture."""

from __future__ import annotations

import torch

from dreamcraft3d.picture.palette import FLOOR, with_palette


def some_colours(mean: list[float], mixing: list[list[float]], count: int = 4000) -> torch.Tensor:
    noise = torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    return noise @ torch.tensor(mixing) + torch.tensor(mean)


RED = some_colours([0.6, 0.4, 0.4], [[0.3, 0.1, 0.0], [0.0, 0.2, 0.1], [0.0, 0.0, 0.2]])
PALE = some_colours([0.75, 0.8, 0.75], [[0.25, 0.0, 0.0], [0.05, 0.2, 0.0], [0.0, 0.05, 0.25]])


def test_mean_and_covariance_become_the_palettes() -> None:
    moved = with_palette(PALE, RED)
    torch.testing.assert_close(moved.mean(dim=0), RED.mean(dim=0), atol=5e-3, rtol=0)
    torch.testing.assert_close(moved.T.cov(), RED.T.cov(), atol=FLOOR, rtol=0.1)


def test_colours_of_the_palette_stay() -> None:
    torch.testing.assert_close(with_palette(RED, RED), RED, atol=1e-4, rtol=0)


def test_no_colour_is_turned_into_its_opposite() -> None:
    """Of all linear maps between two distributions, it is the one whose matrix is positive definite."""
    moved = with_palette(PALE, RED)
    assert ((moved[:-1] - moved[1:]) * (PALE[:-1] - PALE[1:])).sum(dim=1).min() > -1e-3


def test_grain_is_stretched_less_than_a_palette_asks() -> None:
    grain = 0.5 + 0.01 * torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    moved = with_palette(grain, RED)
    assert grain.var(dim=0).sum() < moved.var(dim=0).sum() < 0.2 * RED.var(dim=0).sum()


def test_a_single_colour_takes_the_palettes_mean() -> None:
    grey = torch.full((50, 3), 0.5)
    torch.testing.assert_close(with_palette(grey, RED), RED.mean(dim=0).expand(50, 3), atol=1e-4, rtol=0)
