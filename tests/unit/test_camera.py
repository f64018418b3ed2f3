"""Cameras: where they stand, which way they look, and that rays and projection are the same camera."""

import math

import pytest
import torch

from dreamcraft3d.pipeline.stage import joined, random_cameras
from dreamcraft3d.render.camera import Cameras, half_height, relative_azimuth


def test_cameras_stand_where_azimuth_and_elevation_say() -> None:
    cameras = Cameras.at([0.0, 90.0, 180.0, 0.0], [0.0, 0.0, 30.0, 90.0])
    half, root = 0.5 * 3.8, math.sqrt(0.75) * 3.8
    expected = torch.tensor([[3.8, 0, 0], [0, 3.8, 0], [-root, 0, half], [0, 0, 3.8]])
    torch.testing.assert_close(cameras.position, expected, atol=1e-5, rtol=0)


def test_columns_of_c2w_are_right_up_and_backward() -> None:
    c2w = Cameras.at(0.0).c2w[0]
    expected = torch.tensor([[0.0, 0, 1, 3.8], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(c2w, expected)


def test_c2w_is_a_rotation_whose_right_is_lookat_cross_up() -> None:
    cameras = Cameras.at([10.0, -130.0, 77.0], [-10.0, 45.0, 80.0])
    rotation = cameras.c2w[:, :3, :3]
    identity = torch.eye(3).expand(3, 3, 3)
    torch.testing.assert_close(rotation.transpose(1, 2) @ rotation, identity, atol=1e-6, rtol=0)
    right, up, backward = rotation.unbind(dim=-1)
    torch.testing.assert_close(torch.linalg.cross(-backward, up), right, atol=1e-6, rtol=0)
    torch.testing.assert_close(backward * 3.8, cameras.position, atol=1e-5, rtol=0)
    assert (right[:, 2].abs() < 1e-6).all(), "the horizon is level"
    assert (up[:, 2] > 0).all()


def test_rays_meet_the_pixels_that_projection_sends_their_points_to() -> None:
    size = 16
    cameras = Cameras.at([0.0, 35.0, -160.0], [0.0, 40.0, -10.0])
    origins, directions = cameras.rays(size)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, size, size))
    centre = (torch.arange(size) + 0.5) / size * 2 - 1
    for view in range(3):
        for distance in (2.0, 3.8, 5.0):
            points = (origins[view] + distance * directions[view]).reshape(-1, 3)
            clip = cameras.clip(points)[view].reshape(size, size, 4)
            ndc = clip[..., :2] / clip[..., 3:]
            assert (ndc[..., 0] - centre[None, :]).abs().max() < 1e-4
            assert (ndc[..., 1] + centre[:, None]).abs().max() < 1e-4, "row 0 is the top, where ndc y is +1"


def test_w_is_the_distance_along_the_cameras_axis() -> None:
    cameras = Cameras.at(0.0)
    w = cameras.clip(torch.tensor([[1.0, 0.3, -0.2], [-2.0, 0.0, 0.5]]))[0, :, 3]
    torch.testing.assert_close(w, torch.tensor([2.8, 5.8]))


def test_half_height_projects_to_the_pictures_rim() -> None:
    clip = Cameras.at(25.0).clip(torch.tensor([[0.0, 0.0, half_height()]]))[0, 0]
    assert float(clip[1] / clip[3]) == pytest.approx(1.0, abs=1e-5)


def test_a_ring_starts_at_the_front_and_goes_toward_plus_y() -> None:
    ring = Cameras.ring(4, elevation=20.0)
    assert ring.azimuth.tolist() == [0.0, 90.0, 180.0, 270.0]
    assert ring.elevation.tolist() == [20.0] * 4
    assert float(ring.position[1, 1]) > 3


@pytest.mark.parametrize(("azimuth", "folded"), [(0.0, 0.0), (190.0, -170.0), (-181.0, 179.0), (180.0, -180.0)])
def test_azimuths_fold_into_half_a_turn_either_way(azimuth: float, folded: float) -> None:
    assert float(relative_azimuth(torch.tensor(azimuth))) == pytest.approx(folded)


def test_half_of_the_elevations_are_uniform_and_half_uniform_in_their_sine() -> None:
    elevation = torch.deg2rad(random_cameras(200_000, 1.0, torch.Generator().manual_seed(0)).elevation).sin()
    low, high = torch.deg2rad(torch.tensor([-10.0, 45.0])).tolist()
    even = (torch.tensor(low).cos() - torch.tensor(high).cos()) / (high - low)  # mean sine of a uniform elevation
    by_sine = (torch.tensor(low).sin() + torch.tensor(high).sin()) / 2
    assert elevation.mean().item() == pytest.approx(((even + by_sine) / 2).item(), abs=0.002)


def test_joined_cameras_keep_their_order() -> None:
    both = joined(Cameras.at(0.0), Cameras.at([10.0, 20.0], 5.0))
    assert both.azimuth.tolist() == [0, 10, 20]
    assert both.elevation.tolist() == [0, 5, 5]
