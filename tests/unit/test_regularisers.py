"""What keeps a volume-rendered shape sound, against what is known of spheres and planes.

Seen to fail when: the orientation counts what faces the camera, or every ray; flatness looks along one axis only; continuity
compares a normal with itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dreamcraft3d.pipeline.regularisers import NEARBY, continuity, eikonal, entropy, flatness, orientation
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.volume import VolumeViews, render_volume
from dreamcraft3d.shape.field import DenseField, Field, FieldSamples

EXTENT = 1.0


def samples(normal: Tensor, slope: Tensor | None = None) -> FieldSamples:
    return FieldSamples(
        torch.zeros(len(normal)), torch.zeros(len(normal), 3), normal, normal if slope is None else slope
    )


def views(
    normal: Tensor, directions: Tensor, weights: Tensor, mask: Tensor | None = None, picture: Tensor | None = None
) -> VolumeViews:
    """Samples along rays, and a picture of normals (1, S, S, 3) under a mask (1, S, S, 1)."""
    mask = torch.ones(1, 2, 2, 1) if mask is None else mask
    picture = torch.zeros(*mask.shape[:3], 3) if picture is None else picture
    return VolumeViews(picture, mask, picture, mask, torch.zeros_like(normal), directions, samples(normal), weights)


@pytest.fixture
def ball() -> Field:
    """A signed distance of slope 1, a ball of radius 0.5."""
    return DenseField("sdf", EXTENT, 48).requires_grad_(False)


def seen(field: Field) -> VolumeViews:
    return render_volume(field, Cameras.at(30.0, 10.0), 32, field.occupancy(32, 0.02), 0.02)


def test_what_faces_away_counts_by_the_square_of_its_cosine() -> None:
    towards = torch.tensor([[-1.0, 0, 0], [0.6, 0, 0.8], [1, 0, 0]])
    along = torch.tensor([[1.0, 0, 0]]).expand(3, 3)
    mask = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
    found = orientation(views(towards, along, torch.tensor([0.5, 0.5, 0.25]), mask))
    assert float(found) == pytest.approx((0.5 * 0.36 + 0.25) / 3)


def test_a_ball_faces_whoever_looks_at_it_and_one_turned_inside_out_does_not(ball: Field) -> None:
    """Many rays graze it, and meet next to nothing; of those that meet it, half is the mean of the squared cosine."""
    looked_at = seen(ball)
    inside_out = replace(looked_at, samples=samples(-looked_at.samples.normal))
    assert float(orientation(looked_at)) < 0.01
    assert float(orientation(inside_out)) > 0.15


def test_orientation_turns_normals_and_leaves_opacity_alone() -> None:
    normal = torch.tensor([[0.6, 0.0, 0.8]], requires_grad=True)
    weights = torch.tensor([0.5], requires_grad=True)
    orientation(views(normal, torch.tensor([[1.0, 0, 0]]), weights)).backward()
    assert normal.grad is not None
    assert float(normal.grad[0, 0]) == pytest.approx(2 * 0.5 * 0.6 / 4)
    assert weights.grad is None


def test_a_step_between_two_normals_is_not_flat_whichever_way_it_lies() -> None:
    """From up to sideways: 0.5 in two channels, across one of the S - 1 borders."""
    side = 8
    normal = torch.zeros(1, side, side, 3)
    normal[..., 2] = 1
    normal[:, : side // 2] = torch.tensor([1.0, 0, 0])
    one = torch.ones(1, side, side, 1)
    rays = torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1)
    expected = 2 * 0.5**2 / 3 / (side - 1)
    for picture in (normal, normal.transpose(1, 2)):
        assert float(flatness(views(*rays, one, picture))) == pytest.approx(expected)
    even = torch.zeros(1, side, side, 3) + torch.tensor([0.0, 0, 1])
    assert float(flatness(views(*rays, one, even))) == 0


def test_normals_of_a_plane_go_on_and_those_of_a_ball_turn_by_the_way_over_its_radius(ball: Field) -> None:
    looked_at = seen(ball)
    plane = DenseField("sdf", EXTENT, 48).requires_grad_(False)
    with torch.no_grad():
        plane.shape.copy_(torch.linspace(-EXTENT, EXTENT, 48).expand_as(plane.shape))
    ahead = replace(looked_at, samples=plane.query(looked_at.points))
    draws = torch.Generator().manual_seed(0)
    assert float(continuity(ahead, plane, draws)) == pytest.approx(0, abs=1e-5)
    turned = float(continuity(looked_at, ball, draws))
    # a step d in two of three directions turns it by d / r, whose parts along the axes are Gaussian: mean |x| = 0.8 sigma
    radius = looked_at.points.norm(dim=-1).mean()
    assert turned == pytest.approx(float(NEARBY / radius * 2 / 3 * 0.8), rel=0.4)


def test_a_distance_of_slope_two_is_one_too_steep() -> None:
    steep = replace(
        views(torch.zeros(5, 3), torch.zeros(5, 3), torch.zeros(5)),
        samples=samples(torch.zeros(5, 3), torch.tensor([[2.0, 0, 0]]).expand(5, 3)),
    )
    assert float(eikonal(steep)) == pytest.approx(1)


def test_half_opaque_pixels_have_the_most_entropy() -> None:
    rays = torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1)
    grey, clear = (float(entropy(views(*rays, torch.full((1, 2, 2, 1), value)))) for value in (0.5, 1.0))
    assert grey == pytest.approx(0.6931, abs=1e-3)
    assert clear < 0.01
