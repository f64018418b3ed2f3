"""Reading meshes: right way up, coloured, and broken ones told in a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from dreamcraft3d.errors import UserError
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import decimate, keep_components, load_mesh, normalise

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def box_at(centre: tuple[float, float, float], size: float = 0.2) -> trimesh.Trimesh:
    box = trimesh.creation.box((size, size, size))
    box.apply_translation(centre)
    return box


def coloured(mesh: trimesh.Trimesh, rgb: tuple[int, int, int]) -> trimesh.Trimesh:
    mesh.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[*rgb, 255]))
    return mesh


def colour_near(mesh: Mesh, place: tuple[float, float, float]) -> list[float]:
    assert mesh.colours is not None
    nearest = (mesh.vertices - torch.tensor(place)).norm(dim=-1).argmin()
    return mesh.colours[nearest].tolist()


def as_mesh(mesh: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(np.asarray(mesh.vertices)).float(), torch.tensor(np.asarray(mesh.faces)).long())


def test_a_glb_stands_upright_and_looks_along_x(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(coloured(box_at((0, 0, 0), 1.0), (128, 128, 128)))
    scene.add_geometry(coloured(box_at((0, 1, 0)), (255, 0, 0)))  # glTF: y is up
    scene.add_geometry(coloured(box_at((0, 0, 1)), (0, 255, 0)))  # z is the front
    scene.add_geometry(coloured(box_at((1, 0, 0)), (0, 0, 255)))  # x is the object's left
    scene.export(tmp_path / "box.glb")
    mesh = load_mesh(tmp_path / "box.glb")
    assert colour_near(mesh, (0, 0, 1.1)) == pytest.approx([1, 0, 0])
    assert colour_near(mesh, (1.1, 0, 0)) == pytest.approx([0, 1, 0])
    assert colour_near(mesh, (0, 1.1, 0)) == pytest.approx([0, 0, 1])


@pytest.mark.parametrize(
    ("kind", "front", "up"),
    [
        ("obj", (0, 0, 1), (0, 1, 0)),
        ("ply", (0, -1, 0), (0, 0, 1)),
        ("stl", (0, -1, 0), (0, 0, 1)),
        ("off", (0, -1, 0), (0, 0, 1)),
    ],
)
def test_every_kind_of_file_is_turned_to_world_axes(
    tmp_path: Path, kind: str, front: tuple[float, float, float], up: tuple[float, float, float]
) -> None:
    long, tall = np.array(front) * 3.0, np.array(up) * 2.0
    wedge = trimesh.convex.convex_hull([[0, 0, 0], long, tall, 0.1 * np.cross(up, front)])
    wedge.export(tmp_path / f"wedge.{kind}")
    mesh = load_mesh(tmp_path / f"wedge.{kind}")
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor([3.0, 0.1, 2.0]))
    torch.testing.assert_close(mesh.vertices.amin(0), torch.zeros(3))
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume > 0  # still wound outwards


def test_scene_transforms_place_parts_and_mirrors_keep_them_wound_outwards(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    box = box_at((0, 0, 0), 1.0)
    move = trimesh.transformations.translation_matrix([0, 5, 0])
    scene.add_geometry(box, transform=move @ np.diag([-1.0, 2.0, 1.0, 1.0]))
    scene.export(tmp_path / "scene.glb")
    mesh = load_mesh(tmp_path / "scene.glb")
    torch.testing.assert_close(mesh.vertices.amin(0), torch.tensor([-0.5, -0.5, 4.0]))
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor([0.5, 0.5, 6.0]))
    assert trimesh.Trimesh(mesh.vertices, mesh.faces).volume == pytest.approx(2.0)


def test_base_colours_of_a_glb_are_linear_light(tmp_path: Path) -> None:
    coloured(box_at((0, 0, 0)), (55, 55, 55)).export(tmp_path / "grey.glb")  # 0.2157 linear is 0.5016 sRGB
    mesh = load_mesh(tmp_path / "grey.glb")
    assert mesh.colours is not None
    torch.testing.assert_close(mesh.colours, torch.full_like(mesh.colours, 0.5016), atol=1e-3, rtol=0)


def test_textures_are_sampled_at_the_vertices(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :4], picture[:4, 4:] = (255, 0, 0), (0, 255, 0)  # top
    picture[4:, :4], picture[4:, 4:] = (0, 0, 255), (128, 128, 128)
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])  # from the bottom left
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    square.visual = TextureVisuals(uv=uv, material=PBRMaterial(baseColorTexture=Image.fromarray(picture)))
    square.export(tmp_path / "square.glb")
    mesh = load_mesh(tmp_path / "square.glb")  # glTF (x, y) is world (y, z)
    assert colour_near(mesh, (0, 0, 1)) == pytest.approx([1, 0, 0], abs=1e-6)
    assert colour_near(mesh, (0, 1, 1)) == pytest.approx([0, 1, 0], abs=1e-6)
    assert colour_near(mesh, (0, 0, 0)) == pytest.approx([0, 0, 1], abs=1e-6)
    assert colour_near(mesh, (0, 1, 0)) == pytest.approx([128 / 255] * 3, abs=1e-6)


def test_a_texture_is_multiplied_by_its_base_colour_in_linear_light(tmp_path: Path) -> None:
    material = PBRMaterial(
        baseColorFactor=[255, 55, 0, 255], baseColorTexture=Image.new("RGB", (4, 4), (128, 128, 128))
    )
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 1, 2]], process=False)
    square.visual = TextureVisuals(uv=np.full((3, 2), 0.5), material=material)
    square.export(tmp_path / "square.glb")
    mesh = load_mesh(tmp_path / "square.glb")
    # 0.5020 sRGB is 0.2159 linear; times 0.2157 is 0.0466, which is 0.2389 sRGB
    assert colour_near(mesh, (0, 0, 0)) == pytest.approx([0.502, 0.2389, 0], abs=1e-3)


def test_vertex_colours_are_kept(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]], np.uint8)
    triangle = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 0, 1]], [[0, 1, 2]], vertex_colors=colours, process=False)
    triangle.export(tmp_path / "triangle.ply")
    mesh = load_mesh(tmp_path / "triangle.ply")
    assert mesh.colours is not None
    torch.testing.assert_close(mesh.colours[mesh.faces[0]], torch.eye(3))


def test_vertices_are_doubled_where_faces_differ_in_colour(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    box.visual.face_colors = np.repeat([[255, 0, 0, 255], [0, 0, 255, 255]], 6, axis=0)
    box.export(tmp_path / "box.ply")
    mesh = load_mesh(tmp_path / "box.ply")
    assert mesh.colours is not None
    corners = mesh.colours[mesh.faces]
    torch.testing.assert_close(corners, corners[:, :1].expand(-1, 3, -1))
    assert 8 < len(mesh.vertices) < 36
    assert int((corners[:, 0, 0] == 1).sum()) == 6


def test_an_obj_takes_the_colours_of_its_materials(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    faces = "v 1 1 0\nusemtl red\nf 1 2 3\nusemtl blue\nf 2 4 3\n"
    (tmp_path / "two.obj").write_text("mtllib m.mtl\n" + TRIANGLE + faces)
    mesh = load_mesh(tmp_path / "two.obj")
    assert colour_near(mesh, (0, 0, 0)) == [1, 0, 0]
    assert colour_near(mesh, (0, 1, 1)) == [0, 0, 1]


def test_a_mesh_without_colours_has_none(tmp_path: Path) -> None:
    (tmp_path / "plain.obj").write_text(TRIANGLE + "f 1 2 3\n")
    assert load_mesh(tmp_path / "plain.obj").colours is None


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("words.txt", b"hello", "not a mesh of a kind"),
        ("junk.glb", b"glTFjunk", "broken"),
        ("empty.ply", b"", "broken"),
        ("empty.stl", b"solid x\nendsolid x\n", "no triangles"),
        ("points.obj", TRIANGLE.encode(), "no triangles"),
        ("index.obj", TRIANGLE.encode() + b"f 1 2 9\n", "broken"),
        ("nan.obj", TRIANGLE.replace("1 0 0", "nan 0 0").encode() + b"f 1 2 3\n", "not numbers"),
        ("words.obj", b"hello\nworld\n", "no triangles"),
    ],
)
def test_a_bad_file_is_told_in_a_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        load_mesh(tmp_path / name)
    assert name in str(error.value)


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        load_mesh(tmp_path / "none.glb")


@pytest.mark.parametrize("extents", [(9.0, 1.0, 4.0), (9.0, 4.0, 1.0)])
def test_normalising_fits_the_front_view(extents: tuple[float, float, float]) -> None:
    box = trimesh.creation.box(extents)
    box.apply_translation([5, -3, 2])
    mesh, placement = normalise(as_mesh(box), 1.2)
    assert placement.scale == pytest.approx(0.3)
    torch.testing.assert_close(mesh.vertices.amax(0), -mesh.vertices.amin(0))
    torch.testing.assert_close(mesh.vertices.amax(0), torch.tensor(extents) * 0.15)


def test_restoring_undoes_normalising() -> None:
    ball = trimesh.creation.icosphere(1)
    ball.apply_translation([40, -30, 2])
    before = as_mesh(ball)
    mesh, placement = normalise(before, 1.0)
    torch.testing.assert_close(placement.restore(mesh.vertices), before.vertices)


def test_a_mesh_without_a_front_view_cannot_be_normalised() -> None:
    with pytest.raises(UserError, match="no size"):
        normalise(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 1.0)


def test_small_parts_are_dropped_and_doubled_vertices_make_none() -> None:
    ball, speck = as_mesh(trimesh.creation.icosphere(3)), as_mesh(box_at((3, 0, 0)))
    loose = ball.vertices[ball.faces].reshape(-1, 3)  # 1280 faces, no shared vertex
    vertices = torch.cat([loose, speck.vertices])
    faces = torch.cat([torch.arange(len(loose)).view(-1, 3), speck.faces + len(loose)])
    kept = keep_components(Mesh(vertices, faces, vertices))
    assert len(kept.faces) == 1280
    torch.testing.assert_close(kept.vertices[kept.faces], loose.view(-1, 3, 3))
    assert kept.colours is not None
    torch.testing.assert_close(kept.colours, kept.vertices)
    assert len(keep_components(Mesh(vertices, faces), min_fraction=0.005).faces) == 1292


def test_decimating_keeps_the_shape_closed_and_coloured() -> None:
    ball = as_mesh(trimesh.creation.icosphere(4))
    small = decimate(Mesh(ball.vertices, ball.faces, ball.vertices * 0.5 + 0.5), 1000)
    assert 900 < len(small.faces) <= 1000
    shape = trimesh.Trimesh(small.vertices, small.faces)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(4 / 3 * np.pi, rel=0.03)
    assert small.colours is not None
    torch.testing.assert_close(small.colours, small.vertices * 0.5 + 0.5, atol=0.05, rtol=0)


def test_a_surface_full_of_thin_sheets_and_handles_stays_closed_at_few_faces() -> None:
    noise = torch.rand(9, 9, 9, generator=torch.Generator().manual_seed(0)) - 0.6

    def distance(points: torch.Tensor) -> torch.Tensor:
        inside = F.grid_sample(noise[None, None], points[None, None, None], align_corners=True).flatten()
        return torch.maximum(inside, points.norm(dim=-1) - 0.9)

    with torch.no_grad():
        sponge = DMTet.from_sdf(distance, 32, 1.0).extract()
    small = decimate(sponge, len(sponge.faces) // 4)
    assert 0.8 < len(small.faces) / (len(sponge.faces) // 4) <= 1
    before, after = (trimesh.Trimesh(m.vertices, m.faces, process=False) for m in (sponge, small))
    assert after.is_watertight
    assert after.volume == pytest.approx(before.volume, rel=0.05)


def test_a_surface_that_is_not_closed_is_not_decimated() -> None:
    ball = as_mesh(trimesh.creation.icosphere(3))
    open_ball = Mesh(ball.vertices, ball.faces[1:])
    assert decimate(open_ball, 320) is open_ball


def test_a_mesh_that_is_small_enough_is_not_decimated() -> None:
    box = as_mesh(trimesh.creation.box())
    assert decimate(box, 12) is box
