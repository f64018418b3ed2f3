"""Fields: what a lattice or a hash grid says of matter, of normals and of opacity; colours in space."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dreamcraft3d.shape.colour import DenseColour, HashColour
from dreamcraft3d.shape.encoding import HashEncoding, sample_lattice
from dreamcraft3d.shape.field import DenseField, Field, FieldSamples, HashField, Surface, box_lattice

EXTENT = 0.8
SURFACES: tuple[Surface, ...] = ("density", "sdf")


def fields() -> list[Field]:
    """Every kind of field as it begins: a ball of radius 0.5, or a little more where density is said to end."""
    generator = torch.Generator().manual_seed(0)
    dense: list[Field] = [DenseField(surface, EXTENT, 33) for surface in SURFACES]
    return dense + [HashField(surface, EXTENT, HashEncoding(EXTENT, generator=generator)) for surface in SURFACES]


FIELDS = [pytest.param(field, id=f"{type(field).__name__}-{field.surface}") for field in fields()]


def points_between(near: float, far: float, count: int = 200) -> Tensor:
    """(N, 3) points in all directions, their distances from the origin between two bounds."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return direction * (near + (far - near) * torch.rand(count, 1, generator=generator))


def sdf_alpha(sdf: float, cosine: float, dt: float, anneal: float = 1.0, sharpness: float = 0.3) -> float:
    """The field's opacity of one interval, the ray along x and the normal at the given cosine to it."""
    field = DenseField("sdf", EXTENT, 4)
    field.cosine_anneal = anneal
    with torch.no_grad():
        field.sharpness.fill_(sharpness)
    normal = torch.tensor([[cosine, math.sqrt(1 - cosine**2), 0.0]])
    samples = FieldSamples(torch.tensor([sdf]), torch.zeros(1, 3), normal, normal)
    return field.alpha(samples, torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([dt])).item()


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_begins_as_a_ball(field: Field) -> None:
    assert (field.signed_distance(points_between(0.1, 0.45)) < 0).all()
    assert (field.signed_distance(points_between(0.6, 0.75)) > 0).all()


@pytest.mark.parametrize("field", FIELDS)
def test_normals_point_outward_and_have_length_one(field: Field) -> None:
    points = points_between(0.3, 0.7)
    normal = field.query(points).normal
    torch.testing.assert_close(normal.norm(dim=-1), torch.ones(len(points)))
    assert (normal * points / points.norm(dim=-1, keepdim=True)).sum(dim=-1).min() > 0.99


@pytest.mark.parametrize("field", FIELDS)
def test_a_query_agrees_with_geometry_and_albedo_asked_alone(field: Field) -> None:
    points = points_between(0.0, 0.75)
    found = field.query(points)
    torch.testing.assert_close(found.raw, field.geometry(points))
    torch.testing.assert_close(found.albedo, field.albedo(points))


@pytest.mark.parametrize("field", FIELDS)
def test_slopes_are_the_derivatives_of_geometry(field: Field) -> None:
    points = points_between(0.3, 0.7)
    step = 0.01 * torch.eye(3)
    beside = torch.stack([field.geometry(points + d) - field.geometry(points - d) for d in step], dim=-1) / 0.02
    steepest = beside.norm(dim=-1).max()
    assert (field.query(points).slope - beside).abs().max() < 0.06 * steepest


def test_a_signed_distance_begins_with_a_slope_of_one() -> None:
    for field in (DenseField("sdf", EXTENT, 65), HashField("sdf", EXTENT, HashEncoding(EXTENT))):
        slope = field.query(points_between(0.3, 0.7)).slope.norm(dim=-1)
        assert (slope - 1).abs().max() < 0.02


def test_a_density_becomes_opacity_by_beer_and_lambert() -> None:
    field = DenseField("density", EXTENT, 4)
    samples = FieldSamples(torch.tensor([-4.0, 0.0, 3.0]), torch.zeros(3, 3), torch.zeros(3, 3), torch.zeros(3, 3))
    alpha = field.alpha(samples, torch.zeros(3, 3), torch.tensor([0.1, 0.05, 0.02]))
    sigma = [25 * math.log1p(math.exp(raw)) for raw in (-4.0, 0.0, 3.0)]
    expected = [1 - math.exp(-s * dt) for s, dt in zip(sigma, (0.1, 0.05, 0.02), strict=True)]
    torch.testing.assert_close(alpha, torch.tensor(expected))


@pytest.mark.parametrize(
    ("sdf", "cosine", "dt", "anneal", "expected"),
    [  # (Phi(prev) - Phi(next) + 1e-5) / (Phi(prev) + 1e-5), Phi = sigmoid(exp(3) x), worked by hand
        (0.0, -1.0, 0.05, 1.0, 0.394775),
        (0.1, -1.0, 0.05, 1.0, 0.115006),
        (-0.1, -1.0, 0.05, 1.0, 0.586116),
        (0.0, -0.5, 0.05, 1.0, 0.222045),
        (0.0, 0.5, 0.05, 1.0, 1e-5 / (0.5 + 1e-5)),
        (0.0, -1.0, 0.05, 0.0, 0.394775),
        (0.0, 0.5, 0.05, 0.0, 0.117991),
        (0.0, 0.5, 0.05, 0.5, 0.060856),
    ],
)
def test_a_signed_distance_becomes_opacity_as_in_neus(
    sdf: float, cosine: float, dt: float, anneal: float, expected: float
) -> None:
    assert sdf_alpha(sdf, cosine, dt, anneal) == pytest.approx(expected, rel=1e-5)


def test_a_sharp_surface_stops_a_ray_in_one_step() -> None:
    assert sdf_alpha(0.0, -1.0, 0.05, sharpness=0.8) > 0.999
    assert sdf_alpha(0.1, -1.0, 0.05, sharpness=0.8) < 1e-4


def test_only_a_signed_distance_learns_its_sharpness() -> None:
    assert not DenseField("density", EXTENT, 4).sharpness.requires_grad
    assert DenseField("sdf", EXTENT, 4).sharpness.requires_grad


@pytest.mark.parametrize("field", FIELDS)
def test_all_matter_lies_in_occupied_cells_and_far_cells_are_empty(field: Field) -> None:
    grid = 16
    occupied = field.occupancy(grid, step=0.03)
    points = (torch.rand(20_000, 3, generator=torch.Generator().manual_seed(2)) * 2 - 1) * EXTENT
    cell = ((points / EXTENT + 1) / 2 * grid).long().clamp(max=grid - 1)
    there = occupied[cell[:, 0], cell[:, 1], cell[:, 2]]
    with torch.no_grad():
        matter = field.geometry(points)
        matter = field.opacity(matter, torch.tensor(0.03)) > 0.01 if field.surface == "density" else matter < 0
    assert matter.any()
    assert there[matter].all()
    assert not occupied[0, 0, 0]
    assert not occupied[-1, -1, -1]


def test_box_lattice_lists_cell_centres_x_slowest() -> None:
    centres = box_lattice(2, 1.0)
    assert centres.tolist()[:2] == [[-0.5, -0.5, -0.5], [-0.5, -0.5, 0.5]]
    assert centres.tolist()[4] == [0.5, -0.5, -0.5]


def test_points_outside_a_lattice_take_the_nearest_value_inside() -> None:
    values = torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    outside = torch.tensor([[2.0, 0.3, -5.0]])
    torch.testing.assert_close(
        sample_lattice(values, outside, EXTENT), sample_lattice(values, outside.clamp(-EXTENT, EXTENT), EXTENT)
    )


def test_roughness_of_constant_lattices_is_nothing_and_is_told_apart() -> None:
    field = DenseField("density", EXTENT, 6)
    with torch.no_grad():
        field.shape.fill_(3.0)
    assert [x.item() for x in field.roughness()] == [0, 0]
    with torch.no_grad():
        field.colour[0, 3, 3, 3] = 1.0
    shape, colour = field.roughness()
    assert shape.item() == 0
    assert colour.item() > 0


def test_nodes_are_the_places_of_a_lattices_values() -> None:
    field = DenseField("sdf", EXTENT, 7)
    torch.testing.assert_close(field.geometry(field.nodes()), field.shape.flatten())


def test_a_colour_lattice_imitates_another_albedo() -> None:
    colour = DenseColour(33, EXTENT).imitate(lambda points: 0.5 + 0.5 * points)
    points = points_between(0.0, 0.75)
    assert (colour(points) - (0.5 + 0.5 * points)).abs().max() < 2e-3


def test_imitated_colours_can_still_learn() -> None:
    colour = DenseColour(5, EXTENT).imitate(lambda points: torch.ones_like(points))
    colour(points_between(0.0, 0.7)).sum().backward()
    assert colour.grid.values.grad is not None
    assert colour.grid.values.grad.abs().max() > 1e-3


def test_hash_colours_take_over_a_fields_own() -> None:
    field = HashField("density", EXTENT, HashEncoding(EXTENT))
    colour = HashColour(field.encoding, field.colour_network)
    points = points_between(0.0, 0.7)
    torch.testing.assert_close(colour(points), field.albedo(points))
