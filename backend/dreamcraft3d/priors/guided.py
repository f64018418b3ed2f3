"""Guidance: how predictions under different conditions become one."""

from __future__ import annotations

from torch import Tensor


def classifier_free(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """u + s (c - u) (Ho and Salimans, 2022); 1 is the conditional, 0 the unconditional prediction."""
    return unconditional + scale * (conditional - unconditional)
