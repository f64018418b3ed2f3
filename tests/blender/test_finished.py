"""What can be done with a finished object: its size, fewer faces, an asset, files."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from fake_layout import draw
from refining import Refining, monkey, png, textured

from dreamcraft3d_protocol.messages import JobList, JobState, Preview

Part = Callable[[str], ModuleType]
JOB = str(uuid.UUID(int=1))
SIDE = 16


@pytest.fixture
def made(blender: Any, part: Part) -> Any:
    """A finished object as the add-on leaves it, 2 high, textured, active."""
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, location=(1, 2, 3))
    thing = bpy.context.object
    thing.name, thing["dreamcraft3d_job"] = "Red Mushroom", JOB
    material = part("scene.material")
    material.prepare(thing.data, thing.name)
    image = thing.data[material.PICTURE]
    image.scale(SIDE, SIDE)
    image.pixels.foreach_set(np.array([1, 0, 0, 1] * SIDE**2, np.float32))
    image.pack()
    material.show_result(thing.data)
    bpy.ops.ed.undo_push(message="Made")
    return thing


def active() -> Any:
    return bpy.context.object


def test_the_panel_is_shown_for_a_finished_object_of_ours_alone(made: Any, part: Part) -> None:
    panel = part("panels.object").DREAMCRAFT3D_PT_object
    assert panel.poll(bpy.context)
    assert set(draw(panel).buttons) == {
        f"dreamcraft3d.{name}" for name in ("set_size", "reduce_faces", "mark_asset", "save_texture", "export_glb")
    }
    made.data["dreamcraft3d_growing"] = True
    assert not panel.poll(bpy.context)
    with pytest.raises(RuntimeError, match="Select a finished object"):
        bpy.ops.dreamcraft3d.set_size(size=1)
    bpy.ops.mesh.primitive_cube_add()
    assert not panel.poll(bpy.context)


def test_a_size_is_the_larger_side_and_neither_children_nor_parents_move(made: Any) -> None:
    parent = bpy.data.objects.new("Parent", None)
    child = bpy.data.objects.new("Child", None)
    for one in (parent, child):
        bpy.context.collection.objects.link(one)
    parent.scale, child.location = (2, 2, 2), (5, 5, 5)
    made.parent, child.parent = parent, made
    made.scale = (1, 1, 0.5)
    bpy.context.view_layer.update()
    where, before = made.matrix_world.translation.copy(), child.matrix_world.copy()
    assert bpy.ops.dreamcraft3d.set_size(size=0.5) == {"FINISHED"}
    bpy.context.view_layer.update()
    assert tuple(active().dimensions) == pytest.approx((0.5, 0.5, 0.25), rel=1e-3)
    assert tuple(active().scale) == pytest.approx((0.125, 0.125, 0.0625), rel=1e-3)
    assert (active().matrix_world.translation - where).length < 1e-6
    assert tuple(parent.scale) == (2, 2, 2)
    assert np.allclose(np.array(child.matrix_world), np.array(before), atol=1e-5)


def test_faces_are_reduced_by_one_modifier_that_can_be_undone(made: Any, part: Part) -> None:
    before = len(made.data.polygons)
    for faces in (500, 200):
        assert bpy.ops.dreamcraft3d.reduce_faces(faces=faces) == {"FINISHED"}
        bpy.ops.ed.undo_push(message="Reduce Faces")
        shown = active().evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        assert abs(len(shown.polygons) - faces) <= 2
        assert len(active().modifiers) == 1
        panel = draw(part("panels.object").DREAMCRAFT3D_PT_object)
        assert f"Red Mushroom ({len(shown.polygons)} faces)" in panel.said
    assert len(active().data.polygons) == before
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    assert len(bpy.data.objects["Red Mushroom"].modifiers) == 0


def test_faces_that_other_modifiers_make_are_counted_and_reduced_too(made: Any) -> None:
    made.modifiers.new("Subdivision", "SUBSURF").levels = 1
    for faces in (2000, 400):
        assert bpy.ops.dreamcraft3d.reduce_faces(faces=faces) == {"FINISHED"}
        shown = active().evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        assert abs(sum(len(face.vertices) - 2 for face in shown.polygons) - faces) <= 2


def know_the_job(part: Part, prompt: str) -> None:
    studio = part("pump").studio()
    job = JobState(JOB, "Mushroom", prompt, "draft", 0, "done", "", 4, 4, 1, 1, 1.0, None, "", None, 1.0)
    studio.jobs.take(JobList((job,)))
    red = np.zeros((8, 8, 3), np.uint8)
    red[0, :, 0] = 255
    studio.previews.take(Preview(JOB, 1, "reference", "picture", "", None, "reference"), {"picture": red})


def test_an_asset_has_the_words_as_tags_the_picture_as_preview_and_is_undone(made: Any, part: Part) -> None:
    know_the_job(part, "A red mushroom, with white spots")
    assert bpy.ops.dreamcraft3d.mark_asset() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Mark as Asset")
    asset = active().asset_data
    assert [tag.name for tag in asset.tags] == ["red", "mushroom", "white", "spots"]
    assert asset.description == "A red mushroom, with white spots"
    assert tuple(active().preview.image_size) == (8, 8)
    assert tuple(active().preview.image_pixels_float[-4:]) == (1, 0, 0, 1)
    assert asset.catalog_id == str(uuid.UUID(int=0))
    bpy.ops.ed.undo()
    assert bpy.data.objects["Red Mushroom"].asset_data is None


def test_an_asset_of_an_unknown_job_is_tagged_by_its_name_and_rendered_by_blender(made: Any) -> None:
    assert bpy.ops.dreamcraft3d.mark_asset() == {"FINISHED"}
    assert [tag.name for tag in active().asset_data.tags] == ["red", "mushroom"]
    assert active().preview is not None


def test_in_an_asset_library_it_is_in_our_catalog_which_is_written_once(made: Any, part: Part, tmp_path: Path) -> None:
    libraries = bpy.context.preferences.filepaths.asset_libraries
    library = libraries.new(name="Mine", directory=str(tmp_path))
    other = "c2ee4a8e-0d1d-4c4b-9a0e-0c9f0e4f6d11:Props:Props"
    (tmp_path / "blender_assets.cats.txt").write_text(f"VERSION 1\n\n{other}")
    (tmp_path / "props").mkdir()
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "props" / "mushroom.blend"))
        for _ in range(2):
            assert bpy.ops.dreamcraft3d.mark_asset() == {"FINISHED"}
    finally:
        libraries.remove(library)
    lines = (tmp_path / "blender_assets.cats.txt").read_text().splitlines()
    assert lines == ["VERSION 1", "", other, f"{active().asset_data.catalog_id}:DreamCraft3D:DreamCraft3D"]


def test_a_saved_texture_is_a_file_that_the_object_uses_from_then_on(made: Any, part: Part, tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "mushroom")) == {"FINISHED"}
    assert (tmp_path / "mushroom.png").read_bytes().startswith(b"\x89PNG")
    image = part("scene.material").texture_of(active())
    assert (image.packed_file, image.filepath) == (None, "//mushroom.png")
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    image = part("scene.material").texture_of(bpy.data.objects["Red Mushroom"])
    assert tuple(image.pixels[:4]) == (1, 0, 0, 1)


def test_a_texture_saved_on_another_drive_is_used_from_there(
    made: Any, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relpath(path: str) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")  # as Python does in Windows

    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    monkeypatch.setattr(bpy.path, "relpath", relpath)
    assert bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "mushroom.png")) == {"FINISHED"}
    image = part("scene.material").texture_of(active())
    assert (image.packed_file, image.filepath) == (None, str(tmp_path / "mushroom.png"))
    assert tuple(image.pixels[:4]) == (1, 0, 0, 1)


def test_a_texture_that_was_painted_on_is_saved_as_it_is_now(made: Any, part: Part, tmp_path: Path) -> None:
    image = part("scene.material").texture_of(made)
    image.pixels.foreach_set(np.array([0, 0, 1, 1] * SIDE**2, np.float32))
    assert bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "blue.png")) == {"FINISHED"}
    assert tuple(image.pixels[:4]) == (0, 0, 1, 1)
    made.data.materials.clear()
    with pytest.raises(RuntimeError, match="no texture any more"):
        bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "blue.png"))
    assert not made.data.materials


def test_what_is_saved_of_a_repainted_object_is_what_the_job_painted_and_no_image_of_the_artist(
    refining: Refining, tmp_path: Path
) -> None:
    bumps = bpy.data.images.new("Bumps", 4, 4)
    bumps.pixels.foreach_set(np.full(4 * 4 * 4, 0.5, np.float32))
    bumps.pack()
    textured(monkey())
    nodes = active().data.materials[0].node_tree.nodes
    skin = next(node for node in nodes if node.bl_idname == "ShaderNodeTexImage")
    links, principled = active().data.materials[0].node_tree.links, nodes["Principled BSDF"]
    before = skin.image
    skin.image = bumps  # the first image node is no base color any more
    links.new(skin.outputs["Color"], principled.inputs["Roughness"])
    base = nodes.new("ShaderNodeTexImage")
    base.image = before
    links.new(base.outputs["Color"], principled.inputs["Base Color"])
    said, arrays = refining.order(bpy.ops.dreamcraft3d.repaint, prompt="a nose", part="GROUP", source="Ears")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "nose.png")) == {"FINISHED"}
    saved = bpy.data.images.load(str(tmp_path / "nose.png"))
    assert tuple(saved.pixels[:4]) == pytest.approx((0, 0, 1, 1), abs=0.01)
    for own in (bumps, before):
        assert (own.packed_file is not None, own.filepath) == (True, "")

    base = next(n for n in active().active_material.node_tree.nodes if n.name == base.name)
    base.image = before  # by the artist
    with pytest.raises(RuntimeError, match="no texture any more"):
        bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "nose.png"))


def test_a_place_that_cannot_be_written_is_a_sentence_and_nothing_is_lost(
    made: Any, part: Part, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for operator in (bpy.ops.dreamcraft3d.save_texture, bpy.ops.dreamcraft3d.export_glb):
        with pytest.raises(RuntimeError, match="cannot be written"):
            operator(filepath=str(tmp_path / "file" / "no folder"))
    assert active().name == "Red Mushroom"
    assert part("scene.material").texture_of(active()).packed_file is not None
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def described(glb: Path) -> Any:
    """What a GLB says of itself."""
    content = glb.read_bytes()
    return json.loads(content[20 : 20 + struct.unpack("<I", content[12:16])[0]])


def test_a_glb_has_the_object_as_it_is_seen_standing_on_the_origin(made: Any, tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    bpy.context.view_layer.objects.active = made
    made.scale = (2, 1, 1)
    bpy.ops.dreamcraft3d.reduce_faces(faces=300)
    before = (len(bpy.data.objects), len(bpy.data.meshes), [o.name for o in bpy.context.selected_objects])
    assert bpy.ops.dreamcraft3d.export_glb(filepath=str(tmp_path / "mushroom.glb")) == {"FINISHED"}
    assert (len(bpy.data.objects), len(bpy.data.meshes), [o.name for o in bpy.context.selected_objects]) == before
    assert cube.select_get()

    content = described(tmp_path / "mushroom.glb")
    assert content["nodes"] == [{"mesh": 0, "name": "Red Mushroom"}]  # no transform of its own
    assert content["images"]
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "mushroom.glb"))
    (thing,) = [o for o in bpy.data.objects if o.type == "MESH"]
    assert tuple(thing.dimensions) == pytest.approx((4, 2, 2), rel=0.02)
    assert abs(len(thing.data.polygons) - 300) <= 2
    middle = np.mean([thing.matrix_world @ v.co for v in thing.data.vertices], axis=0)
    assert np.abs(middle).max() < 0.1


@pytest.mark.parametrize("number", [0, 1])
def test_the_scene_the_frame_and_the_selection_are_the_artists_after_a_glb(
    made: Any, tmp_path: Path, number: int
) -> None:
    other = bpy.data.scenes.new("Another")
    scene = (bpy.context.scene, other)[number]
    bpy.context.window.scene = scene
    if scene == other:
        other.collection.objects.link(made)
        bpy.context.view_layer.objects.active = made
    made.select_set(False)
    scene.frame_set(7)
    assert bpy.ops.dreamcraft3d.export_glb(filepath=str(tmp_path / "mushroom.glb")) == {"FINISHED"}
    assert (bpy.context.scene, bpy.context.window.scene) == (scene, scene)
    assert (bpy.context.object, scene.frame_current) == (made, 7)
    assert (made.name, made.select_get(), len(bpy.data.scenes)) == ("Red Mushroom", False, 2)
    assert len(described(tmp_path / "mushroom.glb")["nodes"]) == 1


@pytest.mark.parametrize("scale", [(-1, 1, 1), (-1, -1, 1), (-1, -2, -1)])
@pytest.mark.parametrize("custom", [False, True])
def test_a_mirrored_object_has_its_outside_outside_in_a_glb(
    made: Any, tmp_path: Path, scale: tuple[float, float, float], custom: bool
) -> None:
    if custom:
        made.data.normals_split_custom_set_from_vertices([vertex.normal for vertex in made.data.vertices])
    made.scale = scale
    bpy.context.view_layer.update()
    assert bpy.ops.dreamcraft3d.export_glb(filepath=str(tmp_path / "mushroom.glb")) == {"FINISHED"}
    (primitive,) = described(tmp_path / "mushroom.glb")["meshes"][0]["primitives"]
    numbers = primitive["attributes"]["POSITION"], primitive["attributes"]["NORMAL"], primitive["indices"]
    places, normals, corners = (values(tmp_path / "mushroom.glb", number) for number in numbers)
    a, b, c = (places[corners.reshape(-1, 3)[:, i]].astype(float) for i in range(3))
    assert (a * np.cross(b, c)).sum() > 0  # counter-clockwise from outside
    assert ((places * normals).sum(axis=1) > 0).all()


def values(glb: Path, number: int) -> np.ndarray:
    """An accessor's values, a row for each item."""
    content = glb.read_bytes()
    accessor = described(glb)["accessors"][number]
    view = described(glb)["bufferViews"][accessor["bufferView"]]
    binary = content[28 + struct.unpack("<I", content[12:16])[0] :]
    kind = {5123: np.uint16, 5125: np.uint32, 5126: np.float32}[accessor["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3}[accessor["type"]]
    return np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)


@pytest.fixture
def linked(made: Any, tmp_path: Path) -> Any:
    """Such an object, linked from a file into another, active."""
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["Red Mushroom"]
    return activate(wanted.objects[0])


def activate(thing: Any) -> Any:
    bpy.context.collection.objects.link(thing)
    bpy.context.view_layer.objects.active = thing
    return thing


def test_a_linked_object_is_exported_and_its_own_file_alone_has_the_rest(linked: Any, tmp_path: Path) -> None:
    changes: list[Callable[[], Any]] = [
        lambda: bpy.ops.dreamcraft3d.set_size(size=1),
        lambda: bpy.ops.dreamcraft3d.reduce_faces(faces=100),
        lambda: bpy.ops.dreamcraft3d.mark_asset(),
        lambda: bpy.ops.dreamcraft3d.save_texture(filepath=str(tmp_path / "mushroom.png")),
    ]
    for change in changes:
        with pytest.raises(RuntimeError, match="Make it local first"):
            change()
    assert bpy.ops.dreamcraft3d.export_glb(filepath=str(tmp_path / "mushroom.glb")) == {"FINISHED"}
    assert described(tmp_path / "mushroom.glb")["nodes"] == [{"mesh": 0, "name": "Red Mushroom"}]
    assert (len(bpy.data.objects), len(bpy.data.meshes)) == (1, 1)


def test_an_override_is_scaled_and_reduced_and_no_asset_of_its_own(linked: Any, tmp_path: Path) -> None:
    override = activate(linked.override_create())
    assert bpy.ops.dreamcraft3d.set_size(size=1) == {"FINISHED"}
    assert bpy.ops.dreamcraft3d.reduce_faces(faces=100) == {"FINISHED"}
    with pytest.raises(RuntimeError, match="Make it local first"):
        bpy.ops.dreamcraft3d.mark_asset()
    assert bpy.ops.dreamcraft3d.export_glb(filepath=str(tmp_path / "mushroom.glb")) == {"FINISHED"}
    assert override.name == "Red Mushroom"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    override = next(o for o in bpy.data.objects if o.override_library is not None)
    assert tuple(override.scale) == pytest.approx((0.5, 0.5, 0.5), rel=1e-3)
    assert [modifier.type for modifier in override.modifiers] == ["DECIMATE"]
