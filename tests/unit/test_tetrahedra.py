"""Tetrahedral grids and marching tetrahedra against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from dreamcraft3d.shape.tetrahedra import TetGrid, marching_tetrahedra, tet_grid

CORNER_PAIRS = list(itertools.combinations(range(4), 2))


def surface(grid: TetGrid, sdf: Tensor) -> trimesh.Trimesh:
    vertices, faces = marching_tetrahedra(grid.vertices, sdf, grid)
    return trimesh.Trimesh(vertices.numpy(), faces.numpy(), process=False)


def sphere_sdf(points: Tensor, radius: float = 0.6) -> Tensor:
    return points.norm(dim=-1) - radius


def torus_sdf(points: Tensor) -> Tensor:
    return torch.hypot(points[:, :2].norm(dim=-1) - 0.6, points[:, 2]) - 0.25


def one_tet() -> TetGrid:
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return TetGrid(corners, torch.arange(4)[None], torch.tensor(CORNER_PAIRS), torch.ones(4, dtype=torch.bool), 1.0)


def test_the_tetrahedra_fill_the_box_and_are_wound_alike() -> None:
    grid = tet_grid(6, torch.tensor([[-1.0, 0.0, 0.5], [2.0, 1.0, 2.0]]))
    a, b, c, d = grid.vertices.double()[grid.tets].unbind(1)
    volume = torch.linalg.det(torch.stack([b - a, c - a, d - a], 1)) / 6
    torch.testing.assert_close(volume, torch.full_like(volume, grid.spacing**3 / 12))
    assert volume.sum().item() == pytest.approx(3 * 1 * 1.5, rel=1e-5)


def test_every_edge_of_a_tetrahedron_is_listed_once() -> None:
    grid = tet_grid(4, torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.5, 0.75]]))
    of_tets = grid.tets[:, torch.tensor(CORNER_PAIRS)].reshape(-1, 2).sort(-1).values.unique(dim=0)
    torch.testing.assert_close(grid.edges.unique(dim=0), of_tets)
    assert len(grid.edges) == len(of_tets)


def test_inner_edges_are_a_cell_or_the_way_to_its_middle() -> None:
    grid = tet_grid(5, 1.0)
    inner = grid.edges[~grid.boundary[grid.edges].all(-1)]
    lengths = (grid.vertices[inner[:, 0]] - grid.vertices[inner[:, 1]]).norm(dim=-1) / grid.spacing
    assert grid.spacing == pytest.approx(0.4)
    assert bool(((lengths - 1).abs().minimum((lengths - math.sqrt(0.75)).abs()) < 1e-5).all())


def test_sides_that_are_not_whole_cells_grow_evenly() -> None:
    grid = tet_grid(4, torch.tensor([[0.0, 0.0, 0.0], [4.0, 1.5, 3.0]]))
    torch.testing.assert_close(grid.vertices.amin(0), torch.tensor([0.0, -0.25, 0.0]))
    torch.testing.assert_close(grid.vertices.amax(0), torch.tensor([4.0, 1.75, 3.0]))


def test_the_boundary_is_the_faces_of_the_box() -> None:
    grid = tet_grid(3, 1.0)
    torch.testing.assert_close(grid.boundary, (grid.vertices.abs() > 1 - 1e-6).any(-1))


@pytest.mark.parametrize("box", [torch.zeros(2, 3), torch.tensor([[1.0, 0, 0], [0.0, 1, 1]])])
def test_a_box_without_volume_is_refused(box: Tensor) -> None:
    with pytest.raises(ValueError, match="volume"):
        tet_grid(4, box)


@pytest.mark.parametrize("case", range(16))
def test_each_sign_case_of_a_tetrahedron_separates_inside_from_outside(case: int) -> None:
    grid = one_tet()
    inside = torch.tensor([bool(case >> i & 1) for i in range(4)])
    sdf = torch.where(inside, -1.0, 1.0)
    vertices, faces = marching_tetrahedra(grid.vertices, sdf, grid)
    n = int(inside.sum())
    assert len(faces) == {0: 0, 1: 1, 2: 2, 3: 1, 4: 0}[n]
    assert len(vertices) == n * (4 - n)
    for a, b, c in vertices[faces]:
        normal = torch.linalg.cross(b - a, c - a)
        sides = (grid.vertices - a) @ normal
        assert bool((sides[inside] < 0).all())
        assert bool((sides[~inside] > 0).all())
    if n == 2:  # the two triangles share a diagonal, run in opposite directions, and cover the quadrilateral
        halves = [{(int(f[i]), int(f[(i + 1) % 3])) for i in range(3)} for f in faces]
        assert len(halves[0] & {(b, a) for a, b in halves[1]}) == 1
        area = sum(float(torch.linalg.cross(b - a, c - a).norm()) / 2 for a, b, c in vertices[faces])
        assert area == pytest.approx(flat_hull_area(vertices), rel=1e-5)


@pytest.mark.parametrize("case", range(1, 15))
def test_each_sign_case_of_a_tetrahedron_cuts_its_edges_where_the_distance_is_zero(case: int) -> None:
    """In the unit simplex the distance at (x, y, z) is that of its corners weighed by (1 - x - y - z, x, y, z)."""
    grid = one_tet()
    inside = torch.tensor([bool(case >> i & 1) for i in range(4)])
    sdf = torch.where(inside, -1.0, 1.0) * torch.tensor([0.3, 0.7, 1.1, 1.9])
    vertices, _ = marching_tetrahedra(grid.vertices, sdf, grid)
    corners = torch.cat([1 - vertices.sum(dim=-1, keepdim=True), vertices], dim=-1)
    torch.testing.assert_close(corners @ sdf, torch.zeros(len(vertices)), atol=1e-6, rtol=0)
    assert ((corners > 1e-6).sum(dim=-1) == 2).all(), "each on an edge, between two corners"


def flat_hull_area(points: Tensor) -> float:
    """Area of four coplanar points in convex position, whatever their order: half the largest cross of diagonals."""
    splits = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    return max(
        float(torch.linalg.cross(points[b] - points[a], points[d] - points[c]).norm()) / 2 for (a, b), (c, d) in splits
    )


def test_a_sphere_is_closed_round_and_faces_outwards() -> None:
    mesh = surface(grid := tet_grid(24, 1.0), sphere_sdf(grid.vertices))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=1e-2)
    assert mesh.area == pytest.approx(4 * math.pi * 0.6**2, rel=1e-2)
    real = mesh.area_faces > 1e-4 * mesh.area_faces.mean()
    directions = mesh.triangles_center / np.linalg.norm(mesh.triangles_center, axis=-1, keepdims=True)
    assert ((mesh.face_normals * directions).sum(-1)[real] > 0.8).all()


def test_a_torus_has_one_hole() -> None:
    mesh = surface(grid := tet_grid(24, 1.0), torus_sdf(grid.vertices))
    assert mesh.is_watertight
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.6 * 0.25**2, rel=2e-2)


def test_random_signs_still_make_a_closed_surface() -> None:
    grid = tet_grid(6, 1.0)
    sdf = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(0))
    mesh = surface(grid, torch.where(grid.boundary, sdf.abs(), sdf))
    assert mesh.is_watertight
    assert mesh.is_winding_consistent


def test_a_plane_is_recovered_exactly() -> None:
    grid = tet_grid(7, 1.0)
    normal = torch.tensor([0.6, 0.0, 0.8])
    vertices, faces = marching_tetrahedra(grid.vertices, grid.vertices @ normal - 0.123, grid)
    torch.testing.assert_close(vertices @ normal, torch.full((len(vertices),), 0.123), atol=1e-6, rtol=0)
    a, b, c = vertices[faces].unbind(1)
    assert bool((torch.linalg.cross(b - a, c - a) @ normal >= 0).all())


def test_a_planes_section_of_the_box_is_covered_once() -> None:
    """0.6 x + 0.8 z = 0.123 crosses the cube from x = -1 to x = 1, 2 / 0.8 long and 2 wide."""
    grid = tet_grid(7, 1.0)
    mesh = surface(grid, grid.vertices @ torch.tensor([0.6, 0.0, 0.8]) - 0.123)
    assert mesh.area == pytest.approx(5.0, rel=1e-5)


def test_a_spheres_error_falls_with_the_square_of_the_cell() -> None:
    """Linear along an edge of length h, the surface lies inside the sphere by at most h^2 / (8 r), to first order."""
    for resolution in (12, 24, 48):
        grid = tet_grid(resolution, 1.0)
        vertices, _ = marching_tetrahedra(grid.vertices, sphere_sdf(grid.vertices), grid)
        error = 0.6 - vertices.norm(dim=-1)
        assert error.min() > -1e-6
        assert error.max() < grid.spacing**2 / (8 * 0.6) * 1.1


def test_vertices_are_shared_by_their_triangles() -> None:
    grid = tet_grid(12, 1.0)
    vertices, faces = marching_tetrahedra(grid.vertices, sphere_sdf(grid.vertices), grid)
    assert len(torch.unique(faces)) == len(vertices)
    assert len(faces) == 2 * len(vertices) - 4  # Euler


def test_a_value_of_zero_counts_as_outside() -> None:
    grid = tet_grid(8, 1.0)
    mesh = surface(grid, grid.vertices.abs().amax(-1) - 0.5)  # zeros on lattice planes
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1.0, rel=1e-5)


def test_touching_zero_from_outside_makes_no_triangles() -> None:
    grid = one_tet()
    _, faces = marching_tetrahedra(grid.vertices, torch.tensor([0.0, 1.0, 1.0, 1.0]), grid)
    assert len(faces) == 0


def test_no_sign_change_makes_no_triangles() -> None:
    grid = tet_grid(3, 1.0)
    vertices, faces = marching_tetrahedra(grid.vertices, torch.ones(len(grid.vertices)), grid)
    assert vertices.shape == (0, 3)
    assert faces.shape == (0, 3)


def test_moving_the_grid_moves_the_surface() -> None:
    grid = tet_grid(8, 1.0)
    sdf = sphere_sdf(grid.vertices)
    shift = torch.tensor([3.0, -1.0, 0.5])
    here, faces = marching_tetrahedra(grid.vertices, sdf, grid)
    there, same_faces = marching_tetrahedra(grid.vertices + shift, sdf, grid)
    torch.testing.assert_close(there, here + shift)
    torch.testing.assert_close(same_faces, faces)


def test_gradients_agree_with_finite_differences() -> None:
    grid = tet_grid(2, 1.0)
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(len(grid.vertices), generator=generator, dtype=torch.float64)
    sdf = torch.where(noise > 0.5, noise, noise - 1).requires_grad_()  # never nearer to zero than one half
    positions = grid.vertices.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v, s: marching_tetrahedra(v, s, grid)[0], (positions, sdf))


def test_growing_the_inside_pushes_vertices_along_their_normals() -> None:
    grid = tet_grid(16, 1.0)
    sdf = sphere_sdf(grid.vertices).requires_grad_()
    vertices, _ = marching_tetrahedra(grid.vertices, sdf, grid)
    vertices.norm(dim=-1).sum().backward()
    assert sdf.grad is not None
    touched = sdf.grad != 0
    assert bool((sdf.grad[touched] < 0).all())
