"""Outlines of drawn pictures: firm where they were drawn vaguely."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.picture.outline import firm

SIZE, RIM = 64, 4


def disc(radius: float, fringe: float = 0.0) -> Tensor:
    """(64, 64) 1 within a radius that trembles by ``fringe`` pixels, 0 outside."""
    y, x = torch.meshgrid(*(2 * [torch.arange(SIZE) - SIZE / 2]), indexing="ij")
    trembling = fringe * torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return (torch.hypot(x, y) < radius + trembling).float()


def red_paling_to_white(mask: Tensor, core: Tensor) -> Tensor:
    rgb = torch.where(core[..., None] > 0, torch.tensor([0.8, 0.1, 0.1]), torch.tensor([0.95, 0.8, 0.8]))
    return torch.cat([rgb, mask[..., None]], dim=-1)


def test_a_frayed_outline_becomes_a_round_one() -> None:
    ragged = disc(18, fringe=5)
    firmed = firm(red_paling_to_white(ragged, disc(14)), RIM)[..., 3]

    def length(mask: Tensor) -> float:
        return float((mask.diff(dim=0) != 0).sum() + (mask.diff(dim=1) != 0).sum())

    round_one = disc(float((firmed > 0.5).sum() / torch.pi) ** 0.5)
    assert length((firmed > 0.5).float()) < 1.1 * length(round_one)
    assert length(ragged) > 1.5 * length(round_one)
    assert abs(float(firmed.sum() / ragged.sum()) - 1) < 0.05


def test_a_pale_rim_takes_the_colour_from_within() -> None:
    firmed = firm(red_paling_to_white(disc(18), disc(15)), RIM)
    shown = firmed[firmed[..., 3] > 0.5][:, :3]
    torch.testing.assert_close(shown, torch.tensor([0.8, 0.1, 0.1]).expand_as(shown))


def test_a_thin_part_keeps_its_place_and_its_colours() -> None:
    mask = disc(12)
    mask[30:34, :] = 1.0  # a bar of four pixels, from border to border
    picture = red_paling_to_white(mask, disc(12))
    picture[30:34, 50:, :3] = torch.tensor([0.1, 0.2, 0.9])
    firmed = firm(picture, RIM)
    assert bool((firmed[31:33, 54:62, 3] > 0.5).all())
    torch.testing.assert_close(firmed[31:33, 54:62, :3], picture[31:33, 54:62, :3])


def test_nothing_is_done_without_a_rim_or_where_all_is_rim() -> None:
    small, ragged = red_paling_to_white(disc(3), disc(3)), red_paling_to_white(disc(18, 5), disc(14))
    assert firm(ragged, 0) is ragged
    assert firm(small, RIM) is small
