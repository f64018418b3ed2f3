"""DMTet: starting from distances, extracting, regularising, saving; and the signed distances it starts from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.shape.dmtet import DMTet, mesh_laplacian, normal_consistency
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.sdf import MeshSdf, sample_grid, sdf_from_mesh, sdf_from_occupancy


def sphere_at(centre: tuple[float, float, float], radius: float):  # type: ignore[no-untyped-def]
    return lambda points: (points - torch.tensor(centre)).norm(dim=-1) - radius


def as_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.detach().numpy(), mesh.faces.numpy(), process=False)


def as_mesh(mesh: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(np.asarray(mesh.vertices)).float(), torch.tensor(np.asarray(mesh.faces)).long())


def points_around(count: int = 4000, half: float = 1.5) -> Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * half


# --- DMTet ---


def test_a_small_shape_gets_a_grid_of_its_own_size() -> None:
    shape = DMTet.from_sdf(sphere_at((0.5, -0.3, 0.2), 0.25), resolution=20, half_extent=2.0)
    mesh = as_trimesh(shape.extract())
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.25**3, rel=0.02)
    low, high = shape.box
    torch.testing.assert_close((low + high) / 2, torch.tensor([0.5, -0.3, 0.2]), atol=0.05, rtol=0)
    assert float((high - low).max()) < 1.2  # of 4 before: ten per cent, or two of the first cells, a side


def test_the_grid_does_not_leave_the_cube_it_was_looked_for_in() -> None:
    shape = DMTet.from_sdf(sphere_at((0.0, 0.0, 0.0), 0.99), resolution=12, half_extent=1.0)
    assert float(shape.box.abs().max()) <= 1.0


def test_a_shape_cut_by_the_box_is_closed_there() -> None:
    mesh = as_trimesh(DMTet.from_sdf(sphere_at((1.0, 0.0, 0.0), 0.8), resolution=16, half_extent=1.0).extract())
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(2 / 3 * math.pi * 0.8**3, rel=0.05)


def test_an_empty_shape_is_told_in_a_sentence() -> None:
    with pytest.raises(UserError, match="vanished"):
        DMTet.from_sdf(lambda points: torch.ones(len(points)), resolution=4, half_extent=1.0)


def test_deformation_moves_a_vertex_by_at_most_half_a_cell() -> None:
    shape = DMTet.from_sdf(sphere_at((0.0, 0.0, 0.0), 0.5), resolution=10, half_extent=1.0)
    before = shape.extract().vertices.detach()
    with torch.no_grad():
        shape.deformation[:, 2] = 100.0
    after = shape.extract().vertices.detach()
    expected = before + torch.tensor([0.0, 0.0, shape.spacing / 2])
    torch.testing.assert_close(after, expected, atol=1e-6, rtol=0)


def test_both_parameters_can_be_learned() -> None:
    shape = DMTet.from_sdf(sphere_at((0.0, 0.0, 0.0), 0.5), resolution=10, half_extent=1.0)
    optimiser = torch.optim.Adam(shape.parameters(), lr=0.01)
    for _ in range(60):
        loss = (shape.extract().vertices.norm(dim=-1) - 0.58).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert shape.sdf.grad is not None
    assert shape.deformation.grad is not None
    assert float(shape.deformation.grad.abs().max()) > 0
    radius = shape.extract().vertices.detach().norm(dim=-1)
    assert float((radius - 0.58).abs().mean()) < 0.01


def test_a_saved_shape_comes_back_the_same() -> None:
    shape = DMTet.from_sdf(sphere_at((0.1, 0.0, 0.3), 0.4), resolution=9, half_extent=1.0)
    with torch.no_grad():
        shape.deformation.normal_(generator=torch.Generator().manual_seed(0))
    state = shape.state_dict()
    assert set(state) == {"sdf", "deformation", "box", "resolution"}
    again = DMTet.from_state(state)
    torch.testing.assert_close(again.extract().vertices, shape.extract().vertices, atol=0, rtol=0)
    torch.testing.assert_close(again.extract().faces, shape.extract().faces)


def test_the_sdf_regulariser_is_the_cross_entropy_over_crossing_edges() -> None:
    shape = DMTet(2, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    with torch.no_grad():
        shape.sdf.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    total, count = 0.0, 0
    for a, b in (shape.sdf[shape.edges] / shape.spacing).tolist():
        if (a < 0) != (b < 0):
            count += 1
            total += math.log1p(math.exp(-a if b >= 0 else a)) + math.log1p(math.exp(-b if a >= 0 else b))
    assert shape.sdf_regulariser().item() == pytest.approx(total / count, rel=1e-5)


def test_following_the_sdf_regulariser_removes_floating_bits() -> None:
    shape = DMTet.from_sdf(sphere_at((0.0, 0.0, 0.0), 0.6), resolution=10, half_extent=1.0)
    specks = torch.rand(len(shape.sdf), generator=torch.Generator().manual_seed(0)) < 0.02
    with torch.no_grad():
        shape.sdf[specks & (shape.sdf > 2 * shape.spacing)] = -0.2 * shape.spacing
    pieces = as_trimesh(shape.extract()).body_count
    first = shape.sdf_regulariser().item()
    optimiser = torch.optim.SGD([shape.sdf], lr=1.0)
    for _ in range(10):
        optimiser.zero_grad()
        shape.sdf_regulariser().backward()
        optimiser.step()
    assert pieces > 3
    assert as_trimesh(shape.extract()).body_count == 1
    assert shape.sdf_regulariser().item() < first


def test_the_sdf_regulariser_of_a_shape_without_surface_is_zero() -> None:
    shape = DMTet(2, torch.tensor([[-1.0] * 3, [1.0] * 3]))
    loss = shape.sdf_regulariser()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0


# --- mesh regularisers ---


def test_a_flat_sheet_has_perfectly_consistent_normals() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert normal_consistency(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]])).item() == pytest.approx(0, abs=1e-6)


def test_a_right_angle_costs_one() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert normal_consistency(vertices, torch.tensor([[0, 1, 2], [1, 0, 3]])).item() == pytest.approx(1, abs=1e-6)


def test_a_box_costs_two_thirds() -> None:
    box = as_mesh(trimesh.creation.box())  # 12 edges at right angles and 6 flat diagonals
    assert normal_consistency(box.vertices, box.faces).item() == pytest.approx(12 / 18, abs=1e-6)


def test_slivers_do_not_make_the_normal_gradient_explode() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, -1e-7, 1e-7]], requires_grad=True)
    loss = normal_consistency(vertices, torch.tensor([[0, 1, 2], [0, 2, 3], [0, 4, 1]]))
    loss.backward()
    assert vertices.grad is not None
    assert float(vertices.grad.abs().max()) < 10


def test_mesh_regulariser_gradients_agree_with_finite_differences() -> None:
    mesh = as_mesh(trimesh.creation.icosphere(1))
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    vertices = (mesh.vertices + 0.05 * noise).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: normal_consistency(v, mesh.faces), (vertices,))
    assert torch.autograd.gradcheck(lambda v: mesh_laplacian(v, mesh.faces), (vertices,))


def test_the_laplacian_is_the_distance_to_the_mean_of_neighbours() -> None:
    vertices = torch.tensor([[0.0, 0, 0.3], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    fan = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    mean_of = [[1, 2, 3, 4], [0, 2, 4], [0, 1, 3], [0, 2, 4], [0, 1, 3]]
    expected = sum(float((vertices[n].mean(0) - vertices[i]).square().sum()) for i, n in enumerate(mean_of)) / 5
    assert mesh_laplacian(vertices, fan).item() == pytest.approx(expected, rel=1e-5)


# --- signed distances to start from ---


def ill_wound_spheres() -> dict[str, Mesh]:
    sphere = as_mesh(trimesh.creation.icosphere(3))
    upper = sphere.vertices[sphere.faces].mean(1)[:, 2] > 0
    half = sphere.faces.clone()
    half[upper] = half[upper].flip(-1)
    some = sphere.faces.clone()
    chosen = torch.rand(len(some), generator=torch.Generator().manual_seed(0)) < 0.5
    some[chosen] = some[chosen].flip(-1)
    soup = torch.arange(3 * len(some)).view(-1, 3)
    twice = torch.cat([sphere.faces, sphere.faces.flip(-1)])
    lining = Mesh(
        torch.cat([sphere.vertices, sphere.vertices * 0.5]), torch.cat([sphere.faces, sphere.faces.flip(-1) + 642])
    )
    return {
        "well wound": sphere,
        "inside out": Mesh(sphere.vertices, sphere.faces.flip(-1)),
        "one half inside out": Mesh(sphere.vertices, half),
        "triangles at random inside out": Mesh(sphere.vertices, some),
        "loose triangles at random inside out": Mesh(sphere.vertices[some].reshape(-1, 3), soup),
        "two-sided": Mesh(sphere.vertices, twice),
        "with a hollow nobody sees": lining,
    }


@pytest.mark.parametrize("kind", list(ill_wound_spheres()))
def test_a_sphere_has_its_signed_distance_however_it_is_wound(kind: str) -> None:
    points = points_around()
    torch.testing.assert_close(
        sdf_from_mesh(ill_wound_spheres()[kind], points), points.norm(dim=-1) - 1, atol=0.01, rtol=0
    )


def test_holes_are_bridged() -> None:
    sphere = as_mesh(trimesh.creation.icosphere(3))
    centres = sphere.vertices[sphere.faces].mean(1)
    sockets = (centres - torch.tensor([0.88, 0.33, 0.33])).norm(dim=-1) < 0.25
    sockets |= (centres - torch.tensor([0.88, -0.33, 0.33])).norm(dim=-1) < 0.25
    assert int(sockets.sum()) > 20
    points = points_around()
    inside = sdf_from_mesh(Mesh(sphere.vertices, sphere.faces[~sockets]), points) < 0
    assert float((inside != (points.norm(dim=-1) < 1)).float().mean()) < 0.01


def test_a_box_without_a_bottom_is_filled() -> None:
    box = as_mesh(trimesh.creation.box())
    faces = box.faces[box.vertices[box.faces][..., 2].mean(1) > -0.45]
    assert len(faces) == 10
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.3], [0.0, 0.0, 0.7], [0.0, 0.0, -0.9]])
    assert (sdf_from_mesh(Mesh(box.vertices, faces), points) < 0).tolist() == [True, True, False, False]


def test_overlapping_parts_are_one_solid() -> None:
    ball = as_mesh(trimesh.creation.icosphere(3))
    shift = torch.tensor([0.8, 0.0, 0.0])
    both = Mesh(torch.cat([ball.vertices, ball.vertices + shift]), torch.cat([ball.faces, ball.faces.flip(-1) + 642]))
    points = points_around()
    truth = torch.minimum(points.norm(dim=-1), (points - shift).norm(dim=-1)) - 1
    found = sdf_from_mesh(both, points)
    clear = truth.abs() > 0.01
    torch.testing.assert_close(found[clear] < 0, truth[clear] < 0)
    torch.testing.assert_close(found[truth > 0.01], truth[truth > 0.01], atol=0.01, rtol=0)


def test_a_leaf_has_an_inside_only_when_given_a_thickness() -> None:
    leaf = Mesh(torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))
    points = torch.tensor([[0.02, 0.0, 0.0], [-0.1, 0.0, 0.0], [0.0, 0.0, 1.2]])
    torch.testing.assert_close(MeshSdf(leaf)(points), torch.tensor([0.02, 0.1, 0.2]))
    torch.testing.assert_close(MeshSdf(leaf, least_thickness=0.1)(points), torch.tensor([-0.03, 0.05, 0.15]))


def test_a_blade_is_thickened_and_nothing_else() -> None:
    points = torch.tensor([[0.04, 0.1, 0.1], [-0.04, 0.3, -0.2], [0.06, 0.1, 0.1], [0.0, 0.0, 0.7]])
    blade = as_mesh(trimesh.creation.box((0.02, 1, 1)))
    torch.testing.assert_close(MeshSdf(blade)(points)[:3], torch.tensor([0.03, 0.03, 0.05]))
    torch.testing.assert_close(MeshSdf(blade, least_thickness=0.1)(points)[:3], torch.tensor([-0.01, -0.01, 0.01]))
    solid = as_mesh(trimesh.creation.box((0.2, 1, 1)))
    torch.testing.assert_close(MeshSdf(solid, least_thickness=0.1)(points), MeshSdf(solid)(points))


def test_a_part_close_to_another_is_no_blade() -> None:
    block, plate = trimesh.creation.box((0.5, 1, 1)), trimesh.creation.box((0.3, 0.5, 0.5))
    plate.apply_translation((0.4, 0, 0))  # half of it in the block, whose face lies 0.05 behind its own
    plate.apply_scale((0.6, 1, 1))
    both = as_mesh(trimesh.util.concatenate([block, plate]))
    points = points_around()
    torch.testing.assert_close(MeshSdf(both, least_thickness=0.1)(points), MeshSdf(both)(points))


def test_a_mesh_without_area_is_told_in_a_sentence() -> None:
    with pytest.raises(UserError, match="no triangles"):
        MeshSdf(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])))


def test_a_mesh_survives_the_way_through_the_grid() -> None:
    box = as_mesh(trimesh.creation.box(extents=(0.8, 0.5, 1.1)))
    mesh = as_trimesh(DMTet.from_sdf(MeshSdf(box), resolution=24, half_extent=1.0).extract())
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(0.8 * 0.5 * 1.1, rel=0.02)


def test_a_slab_of_voxels_has_exact_distances_from_the_faces_between_them() -> None:
    volume = torch.zeros(8, 8, 8, dtype=torch.bool)
    volume[:5] = True  # half extent 2: voxels of 0.5, surface at x = 0.5
    middles = -1.75 + 0.5 * torch.arange(8)
    expected = (middles - 0.5).view(8, 1, 1).expand(8, 8, 8)
    torch.testing.assert_close(sdf_from_occupancy(volume, 2.0), expected)


def test_voxels_of_a_ball_give_a_ball() -> None:
    middles = (torch.arange(40) + 0.5) / 20 - 1
    grid = torch.stack(torch.meshgrid(middles, middles, middles, indexing="ij"), -1)
    values = sdf_from_occupancy((grid - torch.tensor([0.1, 0.2, 0.0])).norm(dim=-1) < 0.5, 1.0)
    points = points_around(half=0.9)
    truth = (points - torch.tensor([0.1, 0.2, 0.0])).norm(dim=-1) - 0.5
    torch.testing.assert_close(sample_grid(values, 1.0, points), truth, atol=0.05, rtol=0)


@pytest.mark.parametrize("fill", [True, False])
def test_a_volume_without_surface_is_told_in_a_sentence(fill: bool) -> None:
    with pytest.raises(UserError, match="no surface"):
        sdf_from_occupancy(torch.full((4, 4, 4), fill), 1.0)
