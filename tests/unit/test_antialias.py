"""Antialiased silhouettes: their coverage and its gradients against closed forms, the pair finder against its twin."""

import math
from collections.abc import Iterator

import pytest
import torch
import trimesh
from torch import Tensor

from dreamcraft3d.kernels import antialias as module
from dreamcraft3d.kernels import nvdiffrast_context, rasterize, twins_raster
from dreamcraft3d.kernels.antialias import Topology, antialias, find_silhouettes
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.mesh import Mesh

SIZE = 48
SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(params=["warp on the cpu", "warp on cuda", "nvdiffrast"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Where, and so by which implementation, silhouettes are smoothed."""
    if request.param == "warp on the cpu":
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "warp on cuda":
        for user in (rasterize, module):
            monkeypatch.setattr(user, "nvdiffrast_context", lambda device: None)
    elif nvdiffrast_context(torch.device("cuda")) is None:
        pytest.skip("nvdiffrast is not installed or does not build")
    yield torch.device("cuda")


def flat_clip(points: Tensor, depth: float = 0.0) -> Tensor:
    """(1, V, 4) clip positions of points (V, 2) given in pixels, x right and y down; differentiable."""
    ndc = torch.stack([points[:, 0] / SIZE * 2 - 1, 1 - points[:, 1] / SIZE * 2], dim=-1)
    return torch.cat([ndc, torch.full_like(ndc[:, :1], depth), torch.ones_like(ndc[:, :1])], dim=-1)[None]


def coverage(clip: Tensor, faces: Tensor) -> Tensor:
    """(B, SIZE, SIZE, 1) antialiased mask."""
    ids, depth = rasterize.rasterize_ids(clip, faces, SIZE, SIZE)
    return antialias((ids >= 0).to(clip.dtype)[..., None], ids, depth, clip, Topology.build(faces))


def square(left: float, top: float, side: float) -> Tensor:
    return torch.tensor([[left, top], [left, top + side], [left + side, top + side], [left + side, top]])


def turned_square(angle: float, side: float) -> Tensor:
    a = math.radians(angle)
    turn = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    return square(-side / 2, -side / 2, side) @ turn.T + torch.tensor([SIZE / 2 + 0.13, SIZE / 2 - 0.21])


def icosphere(subdivisions: int, radius: float = 0.5) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions, radius=radius)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces, dtype=torch.int64))


def test_an_edge_between_pixel_centres_shows_as_the_covered_share(device: torch.device) -> None:
    for offset in (0.1, 0.4, 0.6, 0.9):
        mask = coverage(flat_clip(square(10 + offset, 12 + offset, 20)).to(device), SQUARE.to(device))[0, ..., 0].cpu()
        assert float(mask[20, 10]) == pytest.approx(1 - offset, abs=1e-4)
        assert float(mask[20, 30]) == pytest.approx(offset, abs=1e-4)
        assert float(mask[12, 20]) == pytest.approx(1 - offset, abs=1e-4)
        assert float(mask[32, 20]) == pytest.approx(offset, abs=1e-4)
        assert (mask[14:30, 13:29] == 1).all()
        assert (mask[:11] == 0).all()


def test_moving_an_edge_changes_the_coverage_by_its_length(device: torch.device) -> None:
    for side in (14.0, 22.0):
        points = square(11.3, 12.6, side).to(device).requires_grad_()
        coverage(flat_clip(points), SQUARE.to(device)).sum().backward()
        assert points.grad is not None
        right, bottom = points.grad[2:, 0].sum(), points.grad[1:3, 1].sum()
        # at a corner the last pixel row or column may belong to either side
        assert float(right) == pytest.approx(side, abs=1.01)
        assert float(bottom) == pytest.approx(side, abs=1.01)


@pytest.mark.parametrize("angle", [0, 7, 20, 33, 45, 58, 70, 88])
def test_coverage_grows_with_the_edge_at_any_angle(angle: int) -> None:
    side = 28.0
    points = turned_square(angle, side).requires_grad_()
    mask = coverage(flat_clip(points), SQUARE)
    assert mask.sum().item() == pytest.approx(side**2, rel=0.005)
    mask.sum().backward()
    assert points.grad is not None
    outward = turned_square(angle, 2.0).sub(turned_square(angle, 0.0))  # moves every edge by 1 pixel
    assert float((points.grad * outward).sum()) == pytest.approx(4 * side, rel=0.04)


@pytest.mark.parametrize(("subdivisions", "size"), [(3, 96), (5, 96), (5, 32)])
def test_a_spheres_coverage_grows_with_its_radius_whatever_the_size_of_its_triangles(
    subdivisions: int, size: int
) -> None:
    distance, radius = 3.8, 0.5
    mesh = icosphere(subdivisions, radius)
    scale = torch.ones((), requires_grad=True)
    cameras = Cameras.ring(4, elevation=12.0)
    render_mesh(Mesh(mesh.vertices * scale, mesh.faces), cameras, size).mask.sum().backward()
    focal = size / 2 / math.tan(math.radians(10))
    # the outline's radius in pixels is f r / sqrt(d^2 - r^2); area' = 2 pi R R'
    outline = focal * radius / math.sqrt(distance**2 - radius**2)
    growth = focal * distance**2 / (distance**2 - radius**2) ** 1.5 * radius
    assert scale.grad is not None
    assert scale.grad.item() / 4 == pytest.approx(2 * math.pi * outline * growth, rel=0.03)


def test_only_silhouettes_are_blended() -> None:
    mesh = icosphere(4)
    clip = Cameras.at(15.0, 25.0).clip(mesh.vertices)
    ids, depth = rasterize.rasterize_ids(clip, mesh.faces, SIZE, SIZE)
    noise = torch.rand(1, SIZE, SIZE, 3, generator=torch.Generator().manual_seed(0))
    smooth = antialias(noise, ids, depth, clip, Topology.build(mesh.faces))
    touched = (smooth != noise).any(dim=-1)[0]
    covered = (ids[0] >= 0).float()[None, None]
    rim = torch.nn.functional.max_pool2d(covered, 3, 1, 1) + torch.nn.functional.max_pool2d(-covered, 3, 1, 1) > 0
    assert touched.any()
    assert not (touched & ~rim[0, 0]).any()


def test_a_surface_in_front_of_another_is_blended_with_it(device: torch.device) -> None:
    points = torch.cat([square(4.0, 4.0, 40.0), square(15.3, 15.3, 16.0)])
    clip = torch.cat([flat_clip(points[:4], 0.5), flat_clip(points[4:], -0.5)], dim=1).to(device)
    faces = torch.cat([SQUARE, SQUARE + 4]).to(device)
    ids, depth = rasterize.rasterize_ids(clip, faces, SIZE, SIZE)
    colour = torch.where(ids >= 2, 1.0, 0.25)[..., None]
    smooth = antialias(colour, ids, depth, clip, Topology.build(faces))[0, ..., 0]
    assert float(smooth[24, 15]) == pytest.approx(0.25 + 0.75 * 0.7, abs=1e-4)
    assert float(smooth[24, 31]) == pytest.approx(0.25 + 0.75 * 0.3, abs=1e-4)


def test_triangle_order_does_not_change_the_picture(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(2)
    mesh = icosphere(3)
    clip = Cameras.at(15.0, 25.0).clip(mesh.vertices).to(device)
    order = torch.randperm(len(mesh.faces), generator=generator)
    picture = coverage(clip, mesh.faces.to(device))
    torch.testing.assert_close(coverage(clip, mesh.faces[order].to(device)), picture, atol=1e-6, rtol=0)


@pytest.mark.parametrize("subdivisions", [1, 3])
def test_the_kernel_finds_the_silhouettes_its_twin_finds(subdivisions: int) -> None:
    torus = trimesh.creation.torus(0.4, 0.15, major_sections=12 * subdivisions, minor_sections=8 * subdivisions)
    vertices, faces = torch.tensor(torus.vertices).float(), torch.tensor(torus.faces).long()
    faces = torch.cat([faces[:-5], faces[:1]])  # a hole, and an edge with three faces
    clip = Cameras.at([0.0, 50.0], [20.0, 60.0]).clip(vertices)
    ids, depth = rasterize.rasterize_ids(clip, faces, 40, 36)
    ours = find_silhouettes(ids, depth, clip, Topology.build(faces))
    twins = twins_raster.find_silhouettes(ids, depth, clip.double(), faces)
    assert len(ours.near) > 80

    def listed(found: module.Silhouettes) -> list[tuple[int, ...]]:
        rows = torch.cat([found.near[:, None], found.far[:, None], found.edges.sort(dim=1).values], dim=1)
        return sorted(tuple(row) for row in rows.tolist())

    assert listed(ours) == listed(twins)


def test_topology_knows_the_face_across_each_edge() -> None:
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [0, 2, 4], [3, 1, 5], [1, 3, 6]])
    neighbours = Topology.build(faces).neighbours.tolist()
    # edge 1-2 joins faces 0 and 1, edge 0-2 joins 0 and 2; edge 1-3 has three faces, and so none across
    assert neighbours == [[1, 2, -1], [-1, -1, 0], [-1, -1, 0], [-1, -1, -1], [-1, -1, -1]]


def test_topology_of_a_closed_mesh_is_symmetric_and_has_no_border() -> None:
    faces = icosphere(4).faces
    neighbours = Topology.build(faces).neighbours.long()
    assert (neighbours >= 0).all()
    back = neighbours[neighbours]  # (F, 3, 3): the neighbours' neighbours
    assert (back == torch.arange(len(faces))[:, None, None]).any(dim=-1).all()


def test_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(4)
    mesh = icosphere(1, radius=0.6)
    clip = Cameras.at(200.0, 50.0).clip(mesh.vertices)
    topology = Topology.build(mesh.faces)
    ids, depth = rasterize.rasterize_ids(clip, mesh.faces, 10, 10)
    picture = torch.rand(1, 10, 10, 1, generator=generator, dtype=torch.float64)

    def smooth(colours: Tensor, positions: Tensor) -> Tensor:
        return antialias(colours, ids, depth, positions, topology)

    inputs = (picture.requires_grad_(), clip.double().requires_grad_())
    assert torch.autograd.gradcheck(smooth, inputs, eps=1e-7, atol=1e-5)


def test_an_empty_picture_stays_as_it_is() -> None:
    nothing = torch.zeros(0, 3, dtype=torch.int64)
    picture = torch.rand(1, 4, 4, 3)
    ids, depth = rasterize.rasterize_ids(torch.zeros(1, 0, 4), nothing, 4, 4)
    assert torch.equal(antialias(picture, ids, depth, torch.zeros(1, 0, 4), Topology.build(nothing)), picture)


def test_a_square_finds_its_way_to_a_shifted_target_by_its_silhouette_alone(device: torch.device) -> None:
    target_points = square(17.4, 19.7, 18.0)
    with torch.no_grad():
        target = coverage(flat_clip(target_points).to(device), SQUARE.to(device))
    points = square(12.1, 14.2, 16.0).to(device).requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.3)
    for step in range(120):
        optimiser.param_groups[0]["lr"] = 0.3 if step < 80 else 0.05
        optimiser.zero_grad()
        (coverage(flat_clip(points), SQUARE.to(device)) - target).square().sum().backward()
        optimiser.step()
    assert (points.detach().cpu() - target_points).abs().max() < 0.3
