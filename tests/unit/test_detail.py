"""Distillation of details alone.

Seen to fail: without the ``detach``, every claim but that of values; without the mask, what is said of tints; with the
mean over a window's whole area, the same.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dreamcraft3d.distillation.detail import detail

BREADTH = 9


@pytest.fixture
def disc() -> Tensor:
    """(1, 48, 48, 1) the mask of a disc."""
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    return (((x - 23.5).square() + (y - 23.5).square()).sqrt() < 18).float()[None, ..., None]


@pytest.fixture
def pictures(disc: Tensor) -> Tensor:
    """(1, 48, 48, 3) that disc in random colours on white."""
    colours = torch.rand(1, 48, 48, 3, generator=torch.Generator().manual_seed(1))
    return (colours * disc + 1 - disc).requires_grad_()


def pull(pictures: Tensor, mask: Tensor, breadth: int, force: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad((detail(pictures, mask, breadth) * force).sum(), pictures)
    return gradient


def test_pictures_stay_what_they_are(pictures: Tensor, disc: Tensor) -> None:
    torch.testing.assert_close(detail(pictures, disc, BREADTH), pictures)


def test_a_tint_pulls_nowhere(pictures: Tensor, disc: Tensor) -> None:
    gradient = pull(pictures, disc, BREADTH, disc * torch.tensor([1.0, -2.0, 0.5]))
    torch.testing.assert_close((gradient * disc).sum(dim=(1, 2)), torch.zeros(1, 3), atol=1e-3, rtol=0)
    assert gradient[0, 20:28, 20:28].abs().max() < 1e-5


def test_what_is_small_pulls_as_before(pictures: Tensor, disc: Tensor) -> None:
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    checks = ((x + y) % 2 * 2.0 - 1)[None, ..., None].expand(1, 48, 48, 3)
    gradient = pull(pictures, disc, BREADTH, checks)
    torch.testing.assert_close(gradient[0, 20:28, 20:28], checks[0, 20:28, 20:28], atol=0.03, rtol=0)


def test_no_breadth_holds_nothing(pictures: Tensor, disc: Tensor) -> None:
    force = torch.ones(1, 48, 48, 3)
    torch.testing.assert_close(pull(pictures, disc, 0, force), force)
