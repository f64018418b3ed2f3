"""The colours of one picture for another: the linear map between their distributions that moves colours least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

FLOOR = 1e-3  # added to variances: a picture of one colour has none, and grain is not to be stretched


def with_palette(colours: Tensor, palette: Tensor) -> Tensor:
    """Colours (N, 3) moved so that their mean and covariance are those of ``palette`` (M, 3); all in [0, 1]."""
    return palette_map(colours, palette)(colours)


def palette_map(colours: Tensor, palette: Tensor) -> Callable[[Tensor], Tensor]:
    """What moves ``colours`` (N, 3) so that their mean and covariance become those of ``palette`` (M, 3).

    Where colours vary hardly at all, they are stretched less than that.

    Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping for example-based colour transfer", CVMP 2007:
    ``T = A^-1/2 (A^1/2 B A^1/2)^1/2 A^-1/2`` for the covariances A and B.
    """
    floor = FLOOR * torch.eye(3, device=colours.device)
    root = _root(torch.cov(colours.T) + floor)
    inverse = torch.linalg.inv(root)
    transport = inverse @ _root(root @ (torch.cov(palette.T) + floor) @ root) @ inverse
    return lambda others: ((others - colours.mean(dim=0)) @ transport + palette.mean(dim=0)).clamp(0, 1)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
