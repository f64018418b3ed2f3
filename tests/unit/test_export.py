"""Unwrapping, baking and the files that come of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.bake import Baked, bake
from dreamcraft3d.export.formats import write_glb, write_obj, write_ply
from dreamcraft3d.export.unwrap import Atlas, gutter, unwrap
from dreamcraft3d.shape.mesh import Mesh


def ball(subdivisions: int, noise: float = 0.0) -> Mesh:
    """A dented ball about (0.1, 0.2, 0.05); noise in edge lengths."""
    sphere = trimesh.creation.icosphere(subdivisions)
    points = np.asarray(sphere.vertices) * [0.5, 0.4, 0.3]
    points *= 1 + 0.15 * np.sin(9 * points[:, :1]) * np.cos(7 * points[:, 1:2])
    points += np.random.default_rng(0).normal(size=points.shape) * noise * sphere.edges_unique_length.mean() * 0.4
    points += [0.1, 0.2, 0.05]
    return Mesh(torch.tensor(points, dtype=torch.float32), torch.tensor(np.asarray(sphere.faces), dtype=torch.int64))


def colour_at(points: Tensor) -> Tensor:
    return points * 0.8 + 0.4


def islands(atlas: Atlas) -> tuple[int, NDArray[np.int32]]:
    """How many islands there are, and which each face is in: faces that meet in the texture share one."""
    place, corner = np.unique(atlas.uv.numpy(), axis=0, return_inverse=True)
    corner = corner.reshape(-1)[atlas.faces.numpy()]
    start, end = corner[:, [0, 1]].reshape(-1), corner[:, [1, 2]].reshape(-1)
    links = coo_matrix((np.ones(len(start)), (start, end)), shape=(len(place), len(place)))
    number, member = connected_components(links, directed=False)
    return number, member[corner[:, 0]]


def scanline(atlas: Atlas, size: int, margin: float = 0.0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Face by face, in plain numpy: how many faces lie under each texel's centre, and the surface point of the last."""
    count, points = np.zeros((size, size), dtype=np.int64), np.zeros((size, size, 3))
    across, down = np.meshgrid(np.arange(size), np.arange(size))
    centres = np.stack([(across + 0.5) / size, 1 - (down + 0.5) / size, np.ones((size, size))], axis=-1)
    for face in atlas.faces.numpy():
        uv = atlas.uv[face].double().numpy()
        columns = slice(int(uv[:, 0].min() * size), int(uv[:, 0].max() * size) + 1)
        rows = slice(int((1 - uv[:, 1].max()) * size), int((1 - uv[:, 1].min()) * size) + 1)
        weights = centres[rows, columns] @ np.linalg.inv(np.column_stack([uv, np.ones(3)]))
        inside = (weights > margin).all(axis=-1)
        count[rows, columns] += inside
        points[rows, columns][inside] = (weights @ atlas.vertices[face].double().numpy())[inside]
    return count, points


def lookup(image: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples (N, 3), as a renderer takes them."""
    place = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], dim=-1)[None, None]
    found = grid_sample(image.permute(2, 0, 1)[None], place, padding_mode="border", align_corners=False)
    return found[0, :, 0].T


def surface_samples(atlas: Atlas, on_edges: bool = False) -> tuple[Tensor, Tensor]:
    """Random points of all faces, or of all their sides: (N, 3) positions and (N, 2) texture coordinates."""
    random = torch.Generator().manual_seed(0)
    weights = torch.rand(len(atlas.faces), 8, 3, generator=random)
    if on_edges:
        weights[..., 2] = 0.0
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights @ atlas.vertices[atlas.faces]).reshape(-1, 3), (weights @ atlas.uv[atlas.faces]).reshape(-1, 2)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return unwrap(ball(4, noise=0.3), 1024)


@pytest.fixture(scope="module")
def baked(atlas: Atlas) -> Baked:
    return bake(atlas, colour_at, 1024)


def test_the_atlas_is_the_mesh_cut_open() -> None:
    mesh = ball(3)
    atlas = unwrap(mesh, 512)
    assert torch.equal(atlas.source_index[atlas.faces], mesh.faces)
    assert torch.equal(atlas.vertices, mesh.vertices[atlas.source_index])
    assert atlas.uv.min() >= 0
    assert atlas.uv.max() <= 1
    assert atlas.uv[:, 0].max() > 0.9
    assert atlas.uv[:, 1].max() > 0.9


def test_no_two_faces_share_a_texel() -> None:
    count, _ = scanline(unwrap(ball(3, noise=0.3), 512), 512, margin=1e-4)
    assert count.max() == 1


def test_islands_keep_their_gutters(atlas: Atlas) -> None:
    size = 1024
    number, member = islands(atlas)
    assert number > 1
    drawn = np.full((size, size), -1)
    for samples, island in zip(atlas.uv[atlas.faces], member, strict=True):
        # each face's sides and middle, closer than a texel
        along = torch.linspace(0, 1, 40)[:, None]
        sides = torch.cat([samples[i] * along + samples[(i + 1) % 3] * (1 - along) for i in range(3)])
        place = (sides * size).long().clamp(0, size - 1).numpy()
        drawn[size - 1 - place[:, 1], place[:, 0]] = island
    for island in range(number):
        others = drawn[(drawn >= 0) & (drawn != island)]
        assert others.size
        away = distance_transform_edt(drawn != island)
        assert away[(drawn >= 0) & (drawn != island)].min() > gutter(size)


def test_gutters_grow_with_the_texture() -> None:
    assert [gutter(size) for size in (256, 512, 1024, 2048)] == [2, 2, 4, 8]


def test_a_noisy_surface_does_not_break_into_thousands_of_islands() -> None:
    number, _ = islands(unwrap(ball(4, noise=1.0), 1024))
    assert number < 20


def test_slivers_of_a_clean_sheet_do_not_fold_over() -> None:
    points = np.random.default_rng(0).random((600, 2))
    flat = torch.tensor(np.column_stack([points, np.zeros(600)]), dtype=torch.float32)
    atlas = unwrap(Mesh(flat, torch.tensor(Delaunay(points).simplices, dtype=torch.int64)), 512)
    assert islands(atlas)[0] == 1
    assert scanline(atlas, 512, margin=1e-3)[0].max() == 1


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, 0.0), (1.0, 1000.0), (1e4, 0.0)])
def test_size_and_place_in_the_world_do_not_matter(scale: float, shift: float) -> None:
    mesh = ball(3)
    atlas = unwrap(Mesh(mesh.vertices * scale + shift, mesh.faces), 512)
    (a, b), (c, d) = (atlas.uv[atlas.faces][:, 1:] - atlas.uv[atlas.faces][:, :1]).permute(1, 2, 0)
    assert len(atlas.faces) == len(mesh.faces)
    assert ((a * d - b * c).abs() * 512**2 > 1).all()
    assert islands(atlas)[0] < 12


def test_doubled_vertices_do_not_tear_the_mesh_apart() -> None:
    mesh = ball(3, noise=1.0)
    torn = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), torch.arange(mesh.faces.numel()).reshape(-1, 3))
    assert islands(unwrap(torn, 512))[0] < 20


def test_dirty_faces_are_dropped_and_the_rest_kept() -> None:
    mesh = ball(3)
    lost = len(mesh.vertices)
    vertices = torch.cat([mesh.vertices, torch.full((1, 3), torch.nan)])
    degenerate = mesh.faces[:50, [0, 0, 1]]
    doubled = torch.cat([mesh.faces[50:90], mesh.faces[90:120].flip(1)])
    not_finite = torch.tensor([[0, 1, lost]])
    dirty = unwrap(Mesh(vertices, torch.cat([degenerate, not_finite, mesh.faces, doubled])), 512)
    assert torch.equal(dirty.source_index[dirty.faces], mesh.faces)
    assert torch.isfinite(dirty.uv).all()
    assert islands(dirty)[0] == islands(unwrap(mesh, 512))[0]


@pytest.mark.parametrize("faces", [[], [[0, 0, 1]], [[0, 1, 2]]])
def test_a_mesh_without_surface_is_refused(faces: list[list[int]]) -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    with pytest.raises(UserError, match="no surface"):
        unwrap(Mesh(points, torch.tensor(faces, dtype=torch.int64).reshape(-1, 3)), 256)


def test_a_texel_holds_the_colour_of_the_surface_point_under_it() -> None:
    atlas = unwrap(ball(3, noise=0.3), 256)
    baked = bake(atlas, colour_at, 256)
    count, points = scanline(atlas, 256)
    found = torch.tensor(count > 0)
    expected = colour_at(torch.tensor(points)).clamp(0, 1)
    assert (baked.image[found] - expected[found]).abs().max() < 0.5 / 255
    assert baked.covered[found].all()
    assert float(found.float().mean()) <= baked.coverage == float(baked.covered.float().mean()) < 1


def test_colours_are_asked_for_on_the_surface_only() -> None:
    atlas = unwrap(ball(3), 128)
    asked: list[Tensor] = []

    def remember(points: Tensor) -> Tensor:
        asked.append(points)
        return points

    bake(atlas, remember, 128, chunk=1000)
    assert max(map(len, asked)) == 1000
    surface = trimesh.Trimesh(atlas.vertices.numpy(), atlas.faces.numpy())
    _, distance, _ = trimesh.proximity.closest_point_naive(surface, torch.cat(asked)[::40].numpy())
    assert distance.max() < 1e-6


@pytest.mark.parametrize("on_edges", [False, True])
def test_the_texture_shows_the_surface_without_seams(atlas: Atlas, baked: Baked, on_edges: bool) -> None:
    points, uv = surface_samples(atlas, on_edges)
    assert (lookup(baked.image, uv) - colour_at(points).clamp(0, 1)).abs().max() < 1.5 / 255


def test_every_texel_a_bilinear_lookup_touches_is_covered(atlas: Atlas, baked: Baked) -> None:
    _, uv = surface_samples(atlas, on_edges=True)
    for right in (-0.5, 0.5):
        for up in (-0.5, 0.5):
            column = (uv[:, 0] * 1024 + right).long().clamp(0, 1023)
            row = ((1 - uv[:, 1]) * 1024 + up).long().clamp(0, 1023)
            assert baked.covered[row, column].all()


def test_mip_levels_see_no_background(atlas: Atlas, baked: Baked) -> None:
    points, uv = surface_samples(atlas, on_edges=True)
    quarter = avg_pool2d(baked.image.permute(2, 0, 1), 4).permute(1, 2, 0)
    assert (lookup(quarter, uv) - colour_at(points).clamp(0, 1)).abs().quantile(0.999) < 5 / 255


def test_every_texel_of_the_background_repeats_the_nearest_island(baked: Baked) -> None:
    _, (row, column) = distance_transform_edt(~baked.covered.numpy(), return_indices=True)
    assert not baked.covered.all()
    assert torch.equal(baked.image, baked.image[torch.tensor(row), torch.tensor(column)])


def test_a_part_smaller_than_a_texel_keeps_its_colour() -> None:
    mesh, crumb = ball(3), trimesh.creation.icosphere(0, radius=5e-4)
    crumb_points = torch.tensor(np.asarray(crumb.vertices) + 3.0, dtype=torch.float32)
    crumb_faces = torch.tensor(np.asarray(crumb.faces), dtype=torch.int64) + len(mesh.vertices)
    atlas = unwrap(Mesh(torch.cat([mesh.vertices, crumb_points]), torch.cat([mesh.faces, crumb_faces])), 256)

    def red_crumb(points: Tensor) -> Tensor:
        return torch.where(points[:, :1] > 2, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))

    image = bake(atlas, red_crumb, 256).image
    points, uv = surface_samples(atlas)
    assert torch.allclose(lookup(image, uv), red_crumb(points), atol=1e-5)


def read_glb(path: Path) -> tuple[dict, trimesh.Trimesh]:
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    scene = trimesh.load_scene(path)
    (mesh,) = scene.geometry.values()
    return json.loads(content[20 : 20 + length]), mesh


def test_glb_stands_y_up_with_its_front_to_z(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    write_glb(tmp_path / "ball.glb", atlas, baked.image, "ball")
    _, read = read_glb(tmp_path / "ball.glb")
    x, y, z = atlas.vertices.numpy().T
    expected = np.stack([y, z, x], axis=1)
    assert np.allclose(read.bounds, [expected.min(axis=0), expected.max(axis=0)])
    assert read.volume > 0.1


def test_glb_shows_each_point_its_own_colour(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    write_glb(tmp_path / "ball.glb", atlas, baked.image, "ball")
    _, read = read_glb(tmp_path / "ball.glb")
    image = torch.tensor(np.asarray(read.visual.material.baseColorTexture.convert("RGB"))) / 255
    seen = lookup(image, torch.tensor(read.visual.uv, dtype=torch.float32))
    world = torch.tensor(read.vertices[:, [2, 0, 1]], dtype=torch.float32)
    assert (seen - colour_at(world).clamp(0, 1)).abs().max() < 2 / 255


def test_glb_is_one_named_matte_object(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    write_glb(tmp_path / "ball.glb", atlas, baked.image, "red ball")
    tree, _ = read_glb(tmp_path / "ball.glb")
    assert tree["asset"]["generator"] == "DreamCraft3D"
    assert tree["nodes"] == [{"name": "red ball", "mesh": 0}]
    assert [tree[kind][0]["name"] for kind in ("meshes", "materials", "images")] == ["red ball"] * 3
    (material,) = tree["materials"]
    assert material["doubleSided"] is False
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == pytest.approx(0.9)


def test_normals_point_outward_and_agree_across_seams(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    write_glb(tmp_path / "ball.glb", atlas, baked.image, "ball")
    _, read = read_glb(tmp_path / "ball.glb")
    normals = torch.tensor(read.vertex_normals)
    first = torch.full((int(atlas.source_index.max()) + 1,), len(normals)).scatter_reduce(
        0, atlas.source_index, torch.arange(len(normals)), "amin"
    )
    assert len(normals) > len(first)
    assert torch.allclose(normals, normals[first][atlas.source_index], atol=1e-6)
    assert ((read.vertex_normals * (read.vertices - read.centroid)).sum(axis=1) > 0).mean() > 0.99


def test_khronos_validator_finds_nothing_to_say(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    folder = os.environ.get("GLTF_VALIDATOR", "")
    if shutil.which("node") is None or not Path(folder, "node_modules", "gltf-validator").is_dir():
        pytest.skip("needs node, and GLTF_VALIDATOR set to a folder where `npm install gltf-validator` was run")
    write_glb(tmp_path / "ball.glb", atlas, baked.image, "ball")
    script = Path(__file__).parents[1] / "validate_gltf.mjs"
    run = subprocess.run(["node", script, tmp_path / "ball.glb"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["issues"]["messages"] == []


def test_faces_that_cancel_out_still_get_a_unit_normal(tmp_path: Path) -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    both_ways = Atlas(points, torch.tensor([[0, 1, 2], [0, 2, 1]]), points[:, :2], torch.arange(3))
    write_glb(tmp_path / "sheet.glb", both_ways, torch.ones(8, 8, 3), "sheet")
    _, read = read_glb(tmp_path / "sheet.glb")
    assert np.allclose(np.linalg.norm(read.vertex_normals, axis=1), 1)


def test_obj_brings_its_material_and_picture(tmp_path: Path, atlas: Atlas, baked: Baked) -> None:
    write_obj(tmp_path / "my ball.obj", atlas, baked.image, "my ball")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my ball.obj", "my_ball.mtl", "my_ball.png"]
    read = trimesh.load_mesh(tmp_path / "my ball.obj", process=False)
    x, y, z = atlas.vertices.numpy().T
    assert np.allclose(read.bounds[0], [y.min(), z.min(), x.min()], atol=1e-6)
    image = torch.tensor(np.asarray(read.visual.material.image.convert("RGB"))) / 255
    assert torch.allclose(image, baked.image, atol=0.51 / 255)
    seen = lookup(image, torch.tensor(read.visual.uv, dtype=torch.float32))
    world = torch.tensor(read.vertices[:, [2, 0, 1]], dtype=torch.float32)
    assert (seen - colour_at(world).clamp(0, 1)).abs().max() < 2 / 255


def test_ply_stands_z_up_with_its_front_to_minus_y(tmp_path: Path) -> None:
    mesh = ball(2)
    mesh = Mesh(mesh.vertices, mesh.faces, colour_at(mesh.vertices).clamp(0, 1))
    write_ply(tmp_path / "ball.ply", mesh)
    read = trimesh.load_mesh(tmp_path / "ball.ply", process=False)
    x, y, z = mesh.vertices.numpy().T
    assert np.allclose(read.vertices, np.stack([y, -x, z], axis=1), atol=1e-6)
    assert np.array_equal(read.faces, mesh.faces.numpy())
    assert np.abs(read.visual.vertex_colors[:, :3] / 255 - mesh.colours.numpy()).max() < 0.51 / 255


def test_ply_without_colours_has_none(tmp_path: Path) -> None:
    write_ply(tmp_path / "ball.ply", ball(1))
    assert trimesh.load_mesh(tmp_path / "ball.ply").visual.kind is None


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_ply(tmp_path / "new" / "deep" / "ball.ply", ball(1))
    assert [file.name for file in (tmp_path / "new" / "deep").iterdir()] == ["ball.ply"]


def test_a_folder_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder\. Give the name of a file"):
        write_ply(tmp_path, ball(1))


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"ball\.ply cannot be written"):
        write_ply(tmp_path / "out" / "ball.ply", ball(1))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_locked_folder_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        write_ply(tmp_path / "ball.ply", ball(1))
    tmp_path.chmod(0o700)


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ball.ply").write_text("the old one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_ply(tmp_path / "ball.ply", ball(1))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the old one"]
