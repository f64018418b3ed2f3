"""An object that is there is painted, repainted in part, sculpted again, gone on with, and brought back as it was."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Matrix, Vector
from refining import Refining, active, fingerprint, monkey, png, shown_image, textured, values_of
from scripted_backend import job_state

from dreamcraft3d_protocol.messages import Submit

Part = Callable[[str], ModuleType]


def outward(arrays: Any) -> float:
    """The volume within the triangles: positive if they are counter-clockwise from outside."""
    a, b, c = (arrays["vertices"][arrays["faces"][:, i]].astype(float) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


# --- retexture ---


def test_retexture_leaves_the_mesh_its_uv_maps_and_materials_byte_for_byte(refining: Refining) -> None:
    made = monkey()
    before, old = fingerprint(made.data), made.data.name
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a blue monkey")
    assert (said.first, said.until, said.prompt, said.name) == ("texture", "texture", "a blue monkey", "Monkey")
    assert set(arrays) == {"vertices", "faces", "uv", "colours"}
    assert fingerprint(bpy.data.meshes[old]) == before
    assert [layer.name for layer in active().data.uv_layers] == ["UVMap", "Second", "DreamCraft3D"]
    refining.paint(said.job, arrays, (0, 0, 255))
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert fingerprint(bpy.data.meshes[old]) == before
    assert bpy.ops.dreamcraft3d.previous_version() == {"FINISHED"}
    assert active().data.name == old
    assert fingerprint(active().data) == before


def test_a_painted_version_keeps_faces_groups_keys_and_all_maps_and_has_one_image_on_all_of_it(
    refining: Refining,
) -> None:
    made = monkey()
    made.modifiers.new("Subdivision", "SUBSURF")
    old = made.data
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a blue monkey")
    old, new = bpy.data.meshes[old.name], active().data
    assert {p.material_index for p in new.polygons} == {0, 1}  # as it was, until there is something to see
    refining.paint(said.job, arrays, (255, 0, 0))
    assert tuple(shown_image(active()).pixels[:4]) == (1, 0, 0, 1)
    refining.finish(said.job, arrays, png((0, 0, 1)))
    image = shown_image(active())
    assert image.packed_file is not None
    assert tuple(image.pixels[:4]) == pytest.approx((0, 0, 1, 1), abs=0.01)
    assert [len(p.vertices) for p in new.polygons] == [len(p.vertices) for p in old.polygons]
    for name in ("UVMap", "Second"):
        both = [values_of(m.uv_layers[name].uv, "vector", 2, len(m.loops)) for m in (old, new)]
        assert (both[0] == both[1]).all()
    assert [key.name for key in new.shape_keys.key_blocks] == ["Basis", "Smile"]
    assert active().vertex_groups[0].weight(1) == 0.5
    assert [m.name for m in active().modifiers] == ["Subdivision"]
    assert not refining.target.growing_jobs()
    assert sorted(new.keys()) == ["dreamcraft3d_job", "dreamcraft3d_uv"]
    node = next(n for n in new.materials[2].node_tree.nodes if n.bl_idname == "ShaderNodeUVMap")
    assert node.uv_map == "DreamCraft3D"


def test_each_corner_is_sent_with_its_place_in_the_map(refining: Refining) -> None:
    made = monkey()
    _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey", uv="UVMap")
    mesh = made.data
    known = np.array(
        [[*mesh.vertices[loop.vertex_index].co, *mesh.uv_layers[0].uv[loop.index].vector] for loop in mesh.loops]
    )
    corners = arrays["vertices"][arrays["faces"].ravel()]
    in_blender = np.stack([corners[:, 1], -corners[:, 0], corners[:, 2]], axis=1)
    sent = np.concatenate([in_blender, arrays["uv"]], axis=1)
    apart = np.abs(sent[:, None] - known[None]).max(axis=2)
    assert apart.min(axis=1).max() < 1e-5  # each that is sent is one of the mesh's
    assert apart.min(axis=0).max() < 1e-5  # and each of the mesh's is sent


def test_a_new_map_overlaps_nowhere_and_stays_in_the_image(refining: Refining) -> None:
    monkey()
    _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    uv = arrays["uv"].reshape(-1, 3, 2).astype(float)
    assert uv.min() >= 0
    assert uv.max() <= 1
    side, count = 512, np.zeros((512, 512), int)
    for a, b, c in uv * side:
        low, high = np.floor(np.min([a, b, c], axis=0)).astype(int), np.ceil(np.max([a, b, c], axis=0)).astype(int)
        ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
        sides = [(q[0] - p[0]) * (ys - p[1]) - (q[1] - p[1]) * (xs - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        inside = np.all([s > 0 for s in sides], axis=0) | np.all([s < 0 for s in sides], axis=0)
        count[low[1] : high[1], low[0] : high[0]] += inside
    assert (count > 1).sum() < 0.002 * (count > 0).sum()
    assert (count > 0).mean() > 0.3


@pytest.mark.parametrize("scale", [(1, 1, 1), (2, 1, 0.5), (-1, 1, 1), (1, -2, 1), (1, 1, -1), (-1, -1, -1)])
def test_an_object_is_sent_as_the_eye_sees_it_with_its_outside_outside(
    refining: Refining, scale: tuple[float, float, float]
) -> None:
    made = monkey()
    made.scale = scale
    made.location = (5, 6, 7)
    bpy.context.view_layer.update()
    _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    sides = np.ptp(arrays["vertices"], axis=0)[[1, 0, 2]]
    assert sides == pytest.approx(tuple(made.dimensions), rel=1e-3)
    assert outward(arrays) > 0
    assert fingerprint(refining.versions.of(active())[0]) == fingerprint(refining.versions.of(active())[0])


def test_an_object_that_is_turned_is_seen_from_its_own_front_and_one_that_lies_in_itself_stands(
    refining: Refining,
) -> None:
    def sent() -> np.ndarray:
        _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey", uv="UVMap")
        assert bpy.ops.dreamcraft3d.previous_version() == {"FINISHED"}
        return arrays["vertices"]

    made = monkey()
    straight = sent()
    made.rotation_euler.z = 2.0
    bpy.context.view_layer.update()
    assert np.allclose(sent(), straight, atol=1e-5)
    assert straight[:, 0].max() > 0.8  # the nose, toward +x
    made.scale.x = -1
    bpy.context.view_layer.update()
    assert np.allclose(sent(), straight * [1, -1, 1], atol=1e-5)  # mirrored, and still from its front
    made.scale.x = 1
    made.data.transform(Matrix.Rotation(-np.pi / 2, 4, "X"), shape_keys=True)  # as files with y upward come in
    made.rotation_euler = (np.pi / 2, 0, 0)
    made.parent = bpy.data.objects.new("Parent", None)
    bpy.context.scene.collection.objects.link(made.parent)
    made.parent.rotation_euler.z = 1.0
    bpy.context.view_layer.update()
    assert np.allclose(sent(), straight, atol=1e-5)


def test_modifiers_are_sent_and_the_map_they_make(refining: Refining) -> None:
    bpy.ops.mesh.primitive_cube_add()
    active().modifiers.new("Subdivision", "SUBSURF").levels = 2
    _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a ball")
    assert len(arrays["faces"]) == 6 * 16 * 2
    assert len(active().data.polygons) == 6


def test_what_a_modifier_shows_twice_is_sent_once(refining: Refining) -> None:
    bpy.ops.mesh.primitive_cube_add()
    active().modifiers.new("Mirror", "MIRROR")
    active().data.transform(Matrix.Translation((3, 0, 0)))
    _, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="two boxes")
    assert len(arrays["faces"]) == 12


def test_a_mesh_that_came_from_here_keeps_its_map_and_its_looks(refining: Refining) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 1, 0)))
    said, again = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="another monkey")
    assert len(active().data.uv_layers) == 3
    assert (again["uv"] == arrays["uv"]).all()
    assert "texture" in again
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 1, 0), abs=0.01)
    refining.finish(said.job, arrays, png((1, 0, 0)))
    first, second, third = refining.versions.of(active())
    assert [len(m.materials) for m in (first, second, third)] == [2, 3, 3]
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((1, 0, 0), abs=0.01)
    assert bpy.ops.dreamcraft3d.previous_version() == {"FINISHED"}
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 1, 0), abs=0.01)


def test_materials_that_the_object_has_instead_of_its_mesh_come_back_with_it(refining: Refining) -> None:
    made = monkey()
    for slot in made.material_slots:
        slot.link = "OBJECT"
        slot.material = bpy.data.materials.new("Of the Object")
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 1, 0)))
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 1, 0), abs=0.01)
    bpy.ops.dreamcraft3d.previous_version()
    assert [s.material.name.partition(".")[0] for s in active().material_slots] == ["Of the Object"] * 2


def test_of_a_mesh_with_several_users_the_chosen_object_alone_is_changed(refining: Refining) -> None:
    made = monkey()
    other = bpy.data.objects.new("Other", made.data)
    bpy.context.scene.collection.objects.link(other)
    before = fingerprint(other.data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 1, 0)))
    assert bpy.data.objects["Other"].data != active().data
    assert fingerprint(bpy.data.objects["Other"].data) == before
    assert len(refining.versions.of(bpy.data.objects["Other"])) == 1


def test_an_object_without_faces_is_told_so_and_has_not_changed(refining: Refining) -> None:
    bpy.ops.mesh.primitive_circle_add()
    with pytest.raises(RuntimeError, match="has no faces"):
        bpy.ops.dreamcraft3d.retexture(prompt="a ring")
    assert len(refining.versions.of(active())) == len(bpy.data.meshes) == 1


# --- a part ---


def selected_faces() -> set[int]:
    return {0, 7, 9}


def select(made: Any) -> None:
    made.data.polygons.foreach_set("select", [i in selected_faces() for i in range(len(made.data.polygons))])
    made.data.vertices.foreach_set("select", [False] * len(made.data.vertices))
    made.data.edges.foreach_set("select", [False] * len(made.data.edges))


def test_selected_faces_are_the_part_with_exactly_their_corners(refining: Refining) -> None:
    made = monkey()
    textured(made)
    select(made)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a red nose", part="SELECTION")
    assert set(arrays) == {"vertices", "faces", "uv", "texture", "part"}
    meant = arrays["part"].reshape(-1, 3)
    triangles = sum(len(made.data.polygons[i].vertices) - 2 for i in selected_faces())
    assert ((meant == 1).all(axis=1) | (meant == 0).all(axis=1)).all()
    assert (meant == 1).all(axis=1).sum() == triangles
    made.data.calc_loop_triangles()
    order = [t.polygon_index in selected_faces() for t in made.data.loop_triangles]
    assert (meant[:, 0] == order).all()
    assert "dreamcraft3d_part" not in active().data.attributes
    assert said.first == "texture"


def test_the_part_is_taken_from_edit_mode_which_is_left(refining: Refining) -> None:
    made = monkey()
    textured(made)
    bpy.context.scene.tool_settings.mesh_select_mode = (False, False, True)  # by bpy.context, 4.2 crashes later
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    _, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a red nose", part="SELECTION")
    assert bpy.context.mode == "OBJECT"
    assert (arrays["part"] == 1).all()


def test_a_group_a_colour_attribute_and_an_image_name_a_part(refining: Refining) -> None:
    made = monkey()
    textured(made)
    refine = bpy.ops.dreamcraft3d.repaint
    _, arrays = refining.order(refine, prompt="red ears", part="GROUP", source="Ears")
    corners = arrays["vertices"][arrays["faces"].ravel()]
    ears = np.array([[-v.co.y, v.co.x, v.co.z] for v in made.data.vertices[:3]], np.float32)
    near = np.array([np.abs(ears - c).sum(axis=1).min() < 1e-5 for c in corners])
    assert arrays["part"] == pytest.approx(near * 0.5)

    bpy.ops.dreamcraft3d.previous_version()
    white = np.zeros((len(made.data.vertices), 4), np.float32)
    white[[0, 1, 2], 0] = 0.5
    made.data.color_attributes["Mask"].data.foreach_set("color", white.ravel())
    _, arrays = refining.order(refine, prompt="red ears", part="ATTRIBUTE", source="Mask")
    assert arrays["part"] == pytest.approx(near * 0.5)

    bpy.ops.dreamcraft3d.previous_version()
    mask = bpy.data.images.new("Mask", 4, 4)
    mask.pixels.foreach_set(np.ones(64, np.float32))
    _, arrays = refining.order(refine, prompt="red ears", part="IMAGE", source="Mask")
    assert set(arrays) == {"vertices", "faces", "uv", "texture", "mask"}


def test_the_texture_is_sent_pixel_by_pixel_and_the_artists_image_and_material_stay_as_they_are(
    refining: Refining,
) -> None:
    made = monkey()
    image = textured(made)
    values = np.array(image.pixels)
    select(made)
    before, own = fingerprint(made.data), made.data.materials[0].name
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a red nose")
    read = bpy.data.images.new("Read", 1, 1)
    read.pack(data=arrays["texture"].tobytes(), data_len=len(arrays["texture"]))
    read.source = "FILE"
    assert (np.array(read.pixels) == values).all()
    assert (np.array(shown_image(active()).pixels) == values).all()  # nothing is to be seen yet
    refining.paint(said.job, arrays, (255, 0, 0))
    refining.finish(said.job, arrays, png((1, 0, 0)))
    old = refining.versions.of(active())[0]
    assert fingerprint(old) == before
    assert [m.name for m in active().data.materials] == [f"{own}.001"]
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((1, 0, 0), abs=0.01)
    assert shown_image(active()).name != "Skin"


def test_what_was_transparent_stays_transparent(refining: Refining) -> None:
    made = monkey()
    image = textured(made)
    values = np.array(image.pixels, np.float32).reshape(-1, 4)
    values[:512, 3] = 0.0
    image.pixels.foreach_set(values.ravel())
    image.pack()
    select(made)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a red nose")
    refining.paint(said.job, arrays, (255, 0, 0))
    alpha = np.array(shown_image(active()).pixels)[3::4]
    assert (alpha == np.repeat([0, 1], 32 * 64)).all()
    refining.finish(said.job, arrays, png((1, 0, 0), 32))
    pixels = np.array(shown_image(active()).pixels).reshape(-1, 4)
    assert (pixels[:, 3] == np.repeat([0, 1], 512)).all()
    assert pixels[512:, 0] == pytest.approx(1)
    assert not shown_image(active()).is_dirty
    assert sorted(active().data.keys()) == ["dreamcraft3d_job", "dreamcraft3d_uv"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda made: made.data.materials.clear(), "Retexture it first"),
        (lambda made: made.data.materials.append(made.data.materials[0].copy()) or _two(made), "several materials"),
        (lambda made: made.data.polygons.foreach_set("select", [False] * len(made.data.polygons)), "Edit Mode"),
        (lambda made: made.data.uv_layers[0].uv.foreach_set("vector", [2.0] * 2 * len(made.data.loops)), "repeats"),
        (lambda made: setattr(made, "scale", (1, 1, 0)), "scale is zero"),
    ],
)
def test_what_cannot_be_repainted_is_told_and_nothing_has_changed(
    refining: Refining, spoil: Callable[[Any], None], sentence: str
) -> None:
    made = monkey()
    textured(made)
    select(made)
    spoil(made)
    bpy.context.view_layer.update()
    meshes, images, materials = len(bpy.data.meshes), len(bpy.data.images), len(bpy.data.materials)
    before = made.data
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.dreamcraft3d.repaint(prompt="a red nose")
    assert active().data == before
    assert len(active().dreamcraft3d_versions) == 0
    assert (len(bpy.data.meshes), len(bpy.data.images), len(bpy.data.materials)) == (meshes, images, materials)
    assert not any(isinstance(message, Submit) for message in refining.backend.serve())


def _two(made: Any) -> None:
    made.data.polygons[0].material_index = 1


# --- sculpted again, gone on with ---


@pytest.mark.parametrize("scale", [(1, 1, 1), (2, 1, 0.5), (-1, 1, 1)])
def test_a_sculpted_version_is_where_the_object_was_with_its_outside_outside(
    refining: Refining, scale: tuple[float, float, float]
) -> None:
    made = monkey()
    made.scale, made.location, made.rotation_euler = scale, (5, 6, 7), (0.3, 0.4, 0.5)
    bpy.context.view_layer.update()
    before, place = fingerprint(made.data), made.matrix_world.copy()
    positions = values_of(made.data.attributes["position"].data, "vector", 3, len(made.data.vertices))
    said, arrays = refining.order(bpy.ops.dreamcraft3d.resculpt, prompt="an owl")
    assert (said.first, said.until) == ("geometry", "texture")
    assert set(arrays) == {"vertices", "faces", "colours"}
    assert outward(arrays) > 0
    assert {tuple(c) for c in np.round(arrays["colours"])} >= {(1, 0, 0), (0, 0, 1)}
    corners = np.linspace(0, 1, 6 * len(arrays["faces"]), dtype=np.float32).reshape(-1, 2)
    refining.finish(said.job, arrays | {"uv": corners}, png((0, 1, 0)))
    new = active().data
    assert np.allclose(values_of(new.attributes["position"].data, "vector", 3, len(new.vertices)), positions, atol=1e-5)
    assert active().matrix_world == place
    normals = [p.normal.dot(p.center - Vector((0, 0, 0))) for p in new.polygons]
    assert np.mean(np.array(normals) > 0) > 0.6  # outward in the object's own axes, whichever way it is mirrored
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 1, 0), abs=0.01)
    assert values_of(new.uv_layers[0].uv, "vector", 2, len(new.loops)).min() >= 0
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(active().data) == before


def test_an_object_goes_on_from_a_stage_of_its_job(refining: Refining) -> None:
    made = monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.resculpt, prompt="an owl")
    arrays["uv"] = np.zeros((3 * len(arrays["faces"]), 2), np.float32)
    refining.finish(said.job, arrays, png((0, 1, 0)))
    with pytest.raises(RuntimeError, match="finished no stage"):
        bpy.ops.dreamcraft3d.go_on(stage="texture")
    refining.backend.say(job_state(said.job, "done", stages=("geometry", "texture")))
    refining.settle()
    with pytest.raises(RuntimeError, match="earlier one"):
        bpy.ops.dreamcraft3d.go_on(stage="coarse")
    before = fingerprint(active().data)
    again, sent = refining.order(bpy.ops.dreamcraft3d.go_on, stage="geometry", preset="draft", seed=3)
    assert sent == {}
    assert (again.base, again.base_stage, again.first, again.until) == (said.job, "geometry", "geometry", "texture")
    assert (again.prompt, again.preset, again.seed) == ("", "draft", 3)
    refining.finish(again.job, arrays, png((1, 0, 0)))
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((1, 0, 0), abs=0.01)
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(active().data) == before
    assert made is not None


def test_a_painting_that_is_gone_on_with_is_painted_by_the_map_it_was_painted_by(refining: Refining) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 1, 0)))
    refining.backend.say(job_state(said.job, "done", stages=("texture",)))
    refining.settle()
    faces = len(active().data.polygons)
    again, sent = refining.order(bpy.ops.dreamcraft3d.go_on, prompt="a golden monkey", stage="texture")
    assert (sent, again.base, again.prompt) == ({}, said.job, "a golden monkey")
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 1, 0), abs=0.01)
    refining.finish(again.job, arrays, png((1, 0, 0)))
    assert len(active().data.polygons) == faces
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((1, 0, 0), abs=0.01)
