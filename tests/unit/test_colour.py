"""Colours of a mesh as an albedo in space."""

from __future__ import annotations

import torch

from dreamcraft3d.shape.colour import GREY, nearest_colours
from dreamcraft3d.shape.mesh import Mesh


def test_colours_within_a_large_triangle_are_interpolated() -> None:
    corners, colours = torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.eye(3)
    albedo = nearest_colours(Mesh(corners, torch.tensor([[0, 1, 2]]), colours))
    weights = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(albedo(weights @ corners), weights, atol=0.01, rtol=0)
    beside = torch.tensor([0.3, 0.0, 0.0])
    torch.testing.assert_close(albedo(weights @ corners + beside), weights, atol=0.01, rtol=0)


def test_a_mesh_without_colours_is_grey() -> None:
    triangle = Mesh(torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]]), torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(nearest_colours(triangle)(torch.rand(5, 3)), torch.full((5, 3), GREY))
