"""The rasterizer against closed forms and its twin, mesh pictures and texture lookup."""

import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import Delaunay
from torch import Tensor

from dreamcraft3d.kernels import nvdiffrast_context, rasterize, twins_raster
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh, vertex_normals
from dreamcraft3d.render.raster import Fragments
from dreamcraft3d.render.raster import rasterize as draw
from dreamcraft3d.render.shading import light
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.render.texture import sample_texture
from dreamcraft3d.shape.mesh import Mesh


@pytest.fixture(params=["warp on the cpu", "warp on cuda", "nvdiffrast"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Where, and so by which rasterizer, a picture is drawn."""
    if request.param == "warp on the cpu":
        yield torch.device("cpu")
        return
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if request.param == "warp on cuda":
        monkeypatch.setattr(rasterize, "nvdiffrast_context", lambda device: None)
    elif nvdiffrast_context(torch.device("cuda")) is None:
        pytest.skip("nvdiffrast is not installed or does not build")
    yield torch.device("cuda")


def flat_clip(xy: list[list[float]] | Tensor, size: int, depth: float = 0.0) -> Tensor:
    """(1, V, 4) clip positions of points given in pixels, x right and y down, w = 1."""
    points = torch.as_tensor(xy, dtype=torch.float32)
    ndc = torch.stack([points[:, 0] / size * 2 - 1, 1 - points[:, 1] / size * 2], dim=-1)
    return torch.cat([ndc, torch.full((len(points), 1), depth), torch.ones(len(points), 1)], dim=-1)[None]


def icosphere(subdivisions: int, radius: float = 0.5) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions, radius=radius)
    return Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces, dtype=torch.int64))


def random_triangles(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clip positions (2, 3 * count, 4) of overlapping triangles in perspective, and their faces."""
    w = 1 + torch.rand(2, 3 * count, 1, generator=generator)
    ndc = torch.rand(2, 3 * count, 3, generator=generator) * 2.4 - 1.2
    ndc[..., 2] *= 0.7
    return torch.cat([ndc * w, w], dim=-1), torch.arange(3 * count).reshape(count, 3)


def shuffled(faces: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(faces), generator=generator)
    return faces[order], order


def test_a_triangle_covers_its_area(device: torch.device) -> None:
    corners = [[3.3, 5.1], [58.7, 20.4], [22.6, 61.2]]
    ids, _ = rasterize.rasterize_ids(flat_clip(corners, 64).to(device), torch.tensor([[0, 1, 2]]).to(device), 64, 64)
    (ax, ay), (bx, by), (cx, cy) = corners
    area = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2
    assert int((ids >= 0).sum()) == pytest.approx(area, rel=0.01)


def test_row_0_is_the_top_and_column_0_the_left(device: torch.device) -> None:
    corners = [[0.0, 0.0], [4.0, 0.0], [0.0, 2.0]]
    ids, _ = rasterize.rasterize_ids(flat_clip(corners, 8).to(device), torch.tensor([[0, 1, 2]]).to(device), 8, 8)
    assert {tuple(p) for p in torch.nonzero(ids[0] >= 0).tolist()} <= {(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)}
    assert ids[0, 0, 0] == 0


def test_depth_is_linear_over_the_screen_and_the_nearer_triangle_is_seen(device: torch.device) -> None:
    clip = flat_clip([[0, 0], [16, 0], [0, 16], [16, 16]], 16)
    clip[0, :, 2] = torch.tensor([-0.5, 0.5, -0.5, 0.5])  # falls away to the right
    flat = flat_clip([[0, 0], [16, 0], [0, 16], [16, 16]], 16)
    faces = torch.tensor([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]]).to(device)
    ids, depth = rasterize.rasterize_ids(torch.cat([clip, flat], dim=1).to(device), faces, 16, 16)
    sloping = 0.25 + (torch.arange(16) + 0.5) / 32
    torch.testing.assert_close(depth[0].cpu(), sloping.clamp(max=0.5).expand(16, 16), atol=1e-5, rtol=0)
    assert (ids[0, :, :8] < 2).all()
    assert (ids[0, :, 8:] >= 2).all()


def test_nothing_seen_has_id_minus_1_and_depth_1(device: torch.device) -> None:
    clip, faces = flat_clip([[1, 1], [2, 1], [1, 2]], 8).to(device), torch.tensor([[0, 1, 2]]).to(device)
    behind = -clip
    for positions, triangles in [(clip, faces[:0]), (behind, faces), (clip[:, :0], faces[:0])]:
        ids, depth = rasterize.rasterize_ids(positions, triangles, 8, 8)
        assert (ids == -1).all()
        assert (depth == 1).all()


def test_triangles_sharing_an_edge_through_pixel_centres_leave_no_crack(device: torch.device) -> None:
    line = torch.arange(5) * 7 + 2.5
    points = torch.cartesian_prod(line, line)
    corner = torch.arange(20).reshape(4, 5)[:, :4].reshape(-1)
    faces = torch.cat(
        [torch.stack([corner, corner + 1, corner + 6], 1), torch.stack([corner, corner + 6, corner + 5], 1)]
    )
    ids, _ = rasterize.rasterize_ids(flat_clip(points, 33).to(device), faces.to(device), 33, 33)
    assert (ids[0, 3:30, 3:30] >= 0).all()


def test_slivers_leave_no_crack(device: torch.device) -> None:
    # from random points in a narrow band to each other, over a picture large enough to round badly
    generator = torch.Generator().manual_seed(3)
    inner = torch.rand(400, 2, generator=generator) * torch.tensor([500.0, 3.0]) + torch.tensor([6.0, 250.0])
    points = np.concatenate([[[0, 0], [512, 0], [0, 512], [512, 512]], inner.numpy()])
    faces = torch.tensor(Delaunay(points).simplices, dtype=torch.int64)
    clip = flat_clip(torch.tensor(points), 512)
    ids, _ = rasterize.rasterize_ids(clip.to(device), faces.to(device), 512, 512)
    assert int((ids < 0).sum()) == 0


def test_triangle_order_does_not_change_the_picture(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    clip, faces = random_triangles(200, generator)
    other, order = shuffled(faces, generator)
    ids, depth = rasterize.rasterize_ids(clip.to(device), faces.to(device), 48, 40)
    ids_other, depth_other = rasterize.rasterize_ids(clip.to(device), other.to(device), 48, 40)
    original = torch.where(ids_other >= 0, order.to(device)[ids_other.long()].to(torch.int32), -1)
    assert torch.equal(ids, original)
    assert torch.equal(depth, depth_other)


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_sees_what_its_twin_sees(seed: int) -> None:
    clip, faces = random_triangles(40, torch.Generator().manual_seed(seed))
    clip[0, :3, 3] *= -1  # one triangle behind the camera
    ids, depth = rasterize.rasterize_ids(clip, faces, 32, 28)
    ids_twin, depth_twin = twins_raster.rasterize_ids(clip.double(), faces, 32, 28)
    assert (ids >= 0).float().mean() > 0.8
    assert torch.equal(ids, ids_twin)
    torch.testing.assert_close(depth, depth_twin.float(), atol=1e-5, rtol=0)


def test_barycentrics_are_perspective_correct() -> None:
    # a wall standing askew: the point interpolated at each pixel is where that pixel's ray meets it
    vertices = torch.tensor([[1.0, -0.6, -0.5], [-1.5, 0.7, -0.4], [0.9, -0.5, 0.6]])
    cameras = Cameras.at([10.0, 40.0], [5.0, 20.0])
    fragments = draw(cameras.clip(vertices), torch.tensor([[0, 1, 2]]), 32, 32)
    assert len(fragments.pixels) > 200
    torch.testing.assert_close(fragments.barycentric.sum(dim=-1), torch.ones(len(fragments.pixels)))
    origins, directions = (rays.reshape(-1, 3)[fragments.pixels] for rays in cameras.rays(32))
    normal = torch.linalg.cross(vertices[1] - vertices[0], vertices[2] - vertices[0])
    distance = ((vertices[0] - origins) @ normal) / (directions @ normal)
    expected = origins + distance[:, None] * directions
    torch.testing.assert_close(fragments.interpolate(vertices), expected, atol=1e-4, rtol=0)


def test_front_tells_the_side_a_triangle_is_seen_from() -> None:
    corners = [[1.0, 7.0], [7.0, 7.0], [4.0, 1.0]]  # counter-clockwise on the screen
    clip = flat_clip(corners, 8)
    assert draw(clip, torch.tensor([[0, 1, 2]]), 8, 8).front.all()
    assert not draw(clip, torch.tensor([[0, 2, 1]]), 8, 8).front.any()


def test_interpolated_colours_have_the_gradients_that_finite_differences_have() -> None:
    generator = torch.Generator().manual_seed(5)
    clip, faces = random_triangles(6, generator)
    colours = torch.rand(18, 3, generator=generator, dtype=torch.float64)

    def interpolated(positions: Tensor, attribute: Tensor) -> Tensor:
        fragments = draw(positions, faces, 7, 9)
        return fragments.interpolate(attribute)

    inputs = (clip.double().requires_grad_(), colours.requires_grad_())
    assert torch.autograd.gradcheck(interpolated, inputs, eps=1e-7, atol=1e-4)


def test_scatter_puts_each_value_at_its_pixel_over_the_background() -> None:
    ids = torch.tensor([[[-1, 0], [0, -1]]], dtype=torch.int32)
    nothing = torch.zeros(0)
    fragments = Fragments(ids, torch.tensor([1, 2]), nothing, nothing, nothing, nothing)
    picture = fragments.scatter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([8.0, 9.0]))
    assert picture.tolist() == [[[[8, 9], [1, 2]], [[3, 4], [8, 9]]]]


def test_a_sphere_is_as_large_as_its_outline() -> None:
    size, radius, distance = 128, 0.5, 3.8
    mask = render_mesh(icosphere(5, radius), Cameras.at([0.0, 60.0], [0.0, 30.0]), size).mask
    focal = size / 2 / math.tan(math.radians(10))
    outline = focal * radius / math.sqrt(distance**2 - radius**2)
    measured = (mask.sum(dim=(1, 2, 3)) / math.pi).sqrt()
    torch.testing.assert_close(measured, torch.full((2,), outline), atol=0.05, rtol=0)


def test_a_spheres_picture_has_its_normals_depths_and_light() -> None:
    size, radius = 64, 0.5
    mesh, cameras = icosphere(5, radius), Cameras.at([0.0, 75.0], [0.0, 25.0])
    views = render_mesh(mesh, cameras, size, albedo=lambda points: points.new_tensor([0.9, 0.5, 0.2]).expand_as(points))
    origins, directions = cameras.rays(size)
    along = -(origins * directions).sum(dim=-1, keepdim=True)
    closest = (origins + along * directions).norm(dim=-1, keepdim=True)
    inside = (closest < 0.9 * radius).squeeze(-1)
    point = origins + (along - (radius**2 - closest**2).clamp(min=0).sqrt()) * directions
    normal = point / radius
    depth = -(point * torch.nn.functional.normalize(cameras.position, dim=-1)[:, None, None]).sum(-1, keepdim=True)
    expected = torch.tensor([0.9, 0.5, 0.2]) * light(normal, -directions)
    torch.testing.assert_close(views.normal[inside], normal[inside], atol=0.01, rtol=0)
    torch.testing.assert_close(views.depth[inside], depth[inside], atol=0.002, rtol=0)
    torch.testing.assert_close(views.rgb[inside], expected[inside], atol=0.01, rtol=0)
    torch.testing.assert_close(views.albedo[inside], torch.tensor([0.9, 0.5, 0.2]).expand(int(inside.sum()), 3))
    outside = (closest > 1.1 * radius).squeeze(-1)
    for picture, value in [(views.rgb, 1), (views.mask, 0), (views.normal, 0), (views.depth, 0), (views.albedo, 0)]:
        assert (picture[outside] == value).all()


def test_mesh_pictures_agree_with_the_supersampled_ones_of_the_training_objects() -> None:
    mesh = icosphere(5)
    mesh = Mesh(mesh.vertices, mesh.faces, colours=(mesh.vertices + 0.5).clamp(0, 1))
    cameras = Cameras.at([20.0], [30.0])
    ours, truth = render_mesh(mesh, cameras, 64), render_views(mesh, cameras, 64, supersample=4)
    assert (ours.rgb - truth.rgb).abs().mean() < 0.004
    assert (ours.mask - truth.mask).abs().max() < 0.25
    inside = truth.mask.squeeze(-1) > 0.99
    assert (ours.depth - truth.depth)[inside].abs().max() < 0.02


def test_a_mesh_without_faces_shows_the_background() -> None:
    cameras, backgrounds = Cameras.ring(2), torch.tensor([0.2, 0.7]).reshape(2, 1, 1, 1).expand(2, 1, 1, 3)
    nothing = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    lone = Mesh(torch.rand(5, 3), torch.zeros(0, 3, dtype=torch.int64), colours=torch.rand(5, 3))
    for mesh in (nothing, lone):
        views = render_mesh(mesh, cameras, 8, background=backgrounds)
        torch.testing.assert_close(views.rgb, backgrounds.expand(2, 8, 8, 3))
        assert (views.mask == 0).all()
    assert (render_mesh(nothing, cameras, 8, background=torch.tensor([0.1, 0.2, 0.3])).rgb[..., 1] == 0.2).all()


def test_gradients_reach_vertices_colours_and_albedo() -> None:
    mesh, gain = icosphere(3), torch.ones(3, requires_grad=True)
    vertices, colours = mesh.vertices.clone().requires_grad_(), torch.full_like(mesh.vertices, 0.5).requires_grad_()
    render_mesh(Mesh(vertices, mesh.faces, colours), Cameras.ring(3), 32).rgb.sum().backward()
    assert colours.grad is not None
    assert (colours.grad.abs().sum(dim=-1) > 0).float().mean() > 0.5
    render_mesh(
        Mesh(vertices, mesh.faces), Cameras.ring(3), 32, lambda points: 0.5 * gain + 0 * points
    ).rgb.sum().backward()
    for gradient in (vertices.grad, gain.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


def test_faces_are_seen_from_both_sides() -> None:
    square = torch.tensor([[0.0, -0.4, -0.4], [0.0, 0.4, -0.4], [0.0, 0.4, 0.4], [0.0, -0.4, 0.4]])
    views = render_mesh(Mesh(square, torch.tensor([[0, 1, 2], [0, 2, 3]])), Cameras.at([0.0, 180.0]), 16)
    torch.testing.assert_close(views.normal[0, 8, 8], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(views.normal[1, 8, 8], torch.tensor([-1.0, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(views.rgb[0], views.rgb[1])


def test_vertex_normals_weigh_faces_by_their_area() -> None:
    # faces of areas 2 (facing z) and 1/2 (facing x) around the edge from vertex 0 to vertex 1
    vertices = torch.tensor([[0.0, 0, 0], [0, 1, 0], [-4, 0, 0], [0, 0, -1], [9, 9, 9]])
    normals = vertex_normals(vertices, torch.tensor([[0, 1, 2], [0, 3, 1]]))
    expected = torch.nn.functional.normalize(torch.tensor([1.0, 0, 4]), dim=0)
    torch.testing.assert_close(normals[:2], expected.expand(2, 3))
    torch.testing.assert_close(normals[2], torch.tensor([0.0, 0, 1]))
    assert (normals[4] == 0).all()


def test_texture_coordinates_start_at_the_bottom_left() -> None:
    texture = torch.arange(12.0).reshape(2, 3, 2)  # (H, W, C)
    centres = torch.tensor([[0.5 / 3, 0.25], [2.5 / 3, 0.25], [0.5 / 3, 0.75], [2.5 / 3, 0.75]])
    found = sample_texture(texture, centres)
    torch.testing.assert_close(found, torch.stack([texture[1, 0], texture[1, 2], texture[0, 0], texture[0, 2]]))
    corners = sample_texture(texture, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(corners, torch.stack([texture[1, 0], texture[0, 2]]))
    torch.testing.assert_close(sample_texture(texture, torch.tensor([[0.5, 0.5]]))[0], texture[:, 1].mean(dim=0))


def test_texture_lookup_has_the_gradients_that_finite_differences_have() -> None:
    generator = torch.Generator().manual_seed(1)
    texture = torch.rand(5, 4, 2, generator=generator, dtype=torch.float64).requires_grad_()
    uv = (0.15 + 0.7 * torch.rand(20, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(sample_texture, (texture, uv), eps=1e-7, atol=1e-5)


def test_warp_starts_and_draws_without_a_word_but_its_errors_are_heard() -> None:
    program = (
        "import os, torch, warp\n"
        "start = warp.init\n"
        "warp.init = lambda: (start(), os.write(2, b'Warp CUDA error: trouble\\n'))\n"
        "from dreamcraft3d.kernels.rasterize import rasterize_ids\n"
        "rasterize_ids(torch.ones(1, 3, 4), torch.zeros(1, 3, dtype=torch.int64), 4, 4)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == ""
    assert told.stderr == "Warp CUDA error: trouble\n"
