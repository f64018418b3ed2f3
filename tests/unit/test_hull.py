"""Parts that one view shows and the others have missed come back where they belong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.hull import hull_votes, missed_parts

EXTENT, SIZE = 0.8, 40
FRONT, AROUND = Cameras.at(0.0), Cameras.ring(12, 15.0)


def lattice(resolution: int = 57) -> Tensor:
    axis = torch.linspace(-EXTENT, EXTENT, resolution)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)


def outlines(inside: Tensor, cameras: Cameras) -> Tensor:
    """Of a solid given by its lattice points (N, 3): pixels where any falls."""
    masks = torch.zeros(len(cameras), SIZE, SIZE)
    clip = cameras.clip(inside)
    place = ((clip[..., :2] / clip[..., 3:] * torch.tensor([1.0, -1.0]) + 1) / 2 * SIZE).long().clamp(0, SIZE - 1)
    for mask, (column, row) in zip(masks, place.transpose(1, 2), strict=True):
        mask[row, column] = 1
    return masks[..., None]


@pytest.fixture(scope="module", params=[0.0, 0.25])
def figure(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor, Tensor]:
    """Points, the body among them (a box standing this far behind the middle), and its arm (a rod to the left)."""
    points = lattice()
    behind = points + torch.tensor([request.param, 0.0, 0.0])
    body = (behind.abs() <= torch.tensor([0.2, 0.2, 0.5])).all(dim=1)
    arm = (behind[:, [0, 2]].norm(dim=1) < 0.08) & (points[:, 1] > 0.2) & (points[:, 1] < 0.55)
    return points, body, arm


def test_an_arm_that_only_the_front_shows_comes_back(figure: tuple[Tensor, Tensor, Tensor]) -> None:
    points, body, arm = figure
    whole, without = outlines(points[body | arm], FRONT), outlines(points[body], AROUND)
    found = missed_parts(whole, FRONT, without, AROUND, 0.7, EXTENT, points)
    hand = arm & (points[:, 1] > 0.35)  # nearer the body, some depth has enough votes
    assert (found & arm).sum() > 0.55 * found.sum()
    assert (found & hand).sum() > 0.5 * hand.sum()
    assert abs(points[found, 0].mean() - points[arm, 0].mean()) < 0.06


def test_nothing_is_missed_where_all_views_agree(figure: tuple[Tensor, Tensor, Tensor]) -> None:
    points, body, arm = figure
    solid = points[body | arm]
    found = missed_parts(outlines(solid, FRONT), FRONT, outlines(solid, AROUND), AROUND, 0.7, EXTENT, points)
    assert found.sum() <= 0.02 * len(solid)


def test_what_no_other_view_shows_at_all_lies_in_the_middle() -> None:
    points = lattice()
    ball = points[points.norm(dim=1) < 0.3]
    nothing = torch.zeros(len(AROUND), SIZE, SIZE, 1)
    found = points[missed_parts(outlines(ball, FRONT), FRONT, nothing, AROUND, 0.7, EXTENT, points)]
    assert found.mean(dim=0).norm() < 0.05
    assert found.norm(dim=1).max() < 0.45


def test_a_point_has_the_votes_of_the_outlines_it_falls_in() -> None:
    points = lattice()
    masks = outlines(points[points[:, 1] > 0], Cameras.at([0.0, 90.0]))
    left, right = torch.tensor([[0.0, 0.3, 0.0]]), torch.tensor([[0.0, -0.3, 0.0]])
    assert hull_votes(masks, Cameras.at([0.0, 90.0]), torch.cat([left, right])).tolist() == pytest.approx([1.0, 0.5])
