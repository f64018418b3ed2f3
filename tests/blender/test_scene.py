"""What is written into the scene: shapes, materials, images, in modes and through undo that get in the way."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from growing import JOB, MESH, UV, VERTICES, Growing, base_colour_node, positions

Part = Callable[[str], ModuleType]


def test_a_place_is_made_at_the_cursor_in_a_collection_of_its_own(growing: Growing) -> None:
    made = growing.object
    assert tuple(made.location) == (1, 2, 3)
    assert tuple(made.scale) == (3, 3, 3)
    assert [c.name for c in made.users_collection] == ["Mushroom"]
    assert bpy.context.scene.collection.children["DreamCraft3D"].children["Mushroom"]
    assert bpy.context.view_layer.objects.active == made


@pytest.mark.parametrize("switch", ["exclude", "hide_viewport", "monitor"])
def test_where_our_collection_is_switched_off_a_place_is_made_in_sight(growing: Growing, switch: str) -> None:
    layer = bpy.context.view_layer.layer_collection.children["DreamCraft3D"]
    setattr(layer.collection if switch == "monitor" else layer, switch.replace("monitor", "hide_viewport"), True)
    made = growing.target.make(bpy.context, str(uuid.UUID(int=2)), "Bear", 1.0)
    assert made.visible_get()
    assert made.select_get()
    assert bpy.context.view_layer.objects.active == made
    assert not growing.object.visible_get()


def test_an_object_in_an_excluded_collection_is_placed_in_sight(growing: Growing) -> None:
    bpy.context.view_layer.layer_collection.children["DreamCraft3D"].exclude = True
    assert bpy.ops.dreamcraft3d.attach(job=JOB) == {"FINISHED"}
    assert growing.object.visible_get()


def test_a_preview_is_written_turned_scaled_and_coloured(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    assert growing.sync() == 1
    mesh = growing.object.data
    assert (len(mesh.vertices), len(mesh.polygons), len(mesh.edges)) == (4, 2, 5)
    assert np.allclose(positions(growing.object)[1], [-0.25, -0.5, 0])
    attribute = mesh.color_attributes["Color"]
    assert (attribute.data_type, attribute.domain) == ("FLOAT_COLOR", "POINT")
    assert mesh.color_attributes.active_color.name == "Color"
    assert tuple(attribute.data[0].color) == (1, 1, 1, 1)
    assert mesh.polygons[0].use_smooth
    assert base_colour_node(growing.object).layer_name == "Color"


def test_a_result_does_not_wait_until_previews_may_be_drawn(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    assert growing.sync(previews=False) == 0
    assert len(growing.object.data.polygons) == 0
    growing.result()
    assert growing.sync(previews=False) == 1
    assert len(growing.object.data.polygons) == 2


def test_a_second_preview_does_not_have_the_shader_compiled_again(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    changed: list[str] = []

    def note(_: Any, graph: Any) -> None:
        changed.extend(type(update.id).__name__ for update in graph.updates)

    bpy.context.view_layer.update()
    bpy.app.handlers.depsgraph_update_post.append(note)
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.context.view_layer.update()
    bpy.app.handlers.depsgraph_update_post.remove(note)
    assert "Mesh" in changed
    assert "Material" not in changed


def test_positions_and_colours_change_alone(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    growing.preview("positions", vertices=VERTICES * [[1, 2, 1]])
    growing.preview("colours", colours=np.zeros((4, 3), np.float32))
    growing.sync()
    assert np.allclose(positions(growing.object)[:, 0].max(), 0.5)
    assert tuple(growing.object.data.color_attributes["Color"].data[3].color) == (0, 0, 0, 1)


def test_a_painted_texture_is_shown_while_it_is_painted(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[0, :, 0] = 255
    growing.preview("texture", uv=UV, texture=pixels)
    growing.sync()
    image = base_colour_node(growing.object).image
    assert tuple(image.size) == (4, 2)
    assert tuple(image.pixels[-4:]) == (1, 0, 0, 1)  # the top row is the last in Blender
    growing.preview("mesh", **MESH)
    growing.sync()
    growing.preview("texture", uv=UV, texture=pixels)
    growing.sync()
    assert len(bpy.data.images) == 1


def test_a_mesh_is_not_evaluated_anew_for_another_texture(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    evaluated = []

    def listen(_: Any, depsgraph: bpy.types.Depsgraph) -> None:
        changes = {one.id.original: one for one in depsgraph.updates if isinstance(one.id, bpy.types.Object)}
        evaluated.append(changes[growing.object].is_updated_geometry)

    bpy.app.handlers.depsgraph_update_post.append(listen)
    for value in 0, 255:
        growing.preview("texture", uv=UV, texture=np.full((2, 4, 3), value, np.uint8))
        growing.sync()
        bpy.context.view_layer.update()
    bpy.app.handlers.depsgraph_update_post.remove(listen)
    assert evaluated == [True, False]


def test_uvs_that_were_taken_away_come_back_with_the_next_texture(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    for value in 0, 255:
        growing.preview("texture", uv=UV, texture=np.full((2, 4, 3), value, np.uint8))
        growing.sync()
        layer = growing.object.data.uv_layers[0]
        assert np.allclose([tuple(corner.vector) for corner in layer.uv], UV)
        growing.object.data.uv_layers.remove(layer)


def test_the_result_has_uvs_an_image_and_no_more_to_come(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    growing.result()
    growing.sync()
    made = growing.object
    layer = made.data.uv_layers["UVMap"]
    values = np.empty(12, np.float32)
    layer.uv.foreach_get("vector", values)
    assert np.allclose(values.reshape(-1, 2), UV)
    image = base_colour_node(made).image
    assert image.packed_file is not None
    assert tuple(image.size) == (2, 2)
    assert tuple(image.pixels[:4]) == pytest.approx((1, 0, 0, 1), abs=0.01)
    assert not growing.target.growing(made)
    assert growing.target.growing_jobs() == set()
    assert len(made.data.materials) == 1


def test_the_image_is_there_after_the_file_is_saved_and_opened(growing: Growing, tmp_path: Path) -> None:
    growing.result()
    growing.sync()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "made.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "made.blend"))
    assert base_colour_node(growing.object).image.pixels[0] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "TEXTURE_PAINT"])
def test_in_another_mode_writes_wait_and_are_caught_up_with(growing: Growing, mode: str) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.ops.object.mode_set(mode=mode)
    growing.preview("mesh", **(MESH | {"vertices": VERTICES * [[1, 4, 1]]}))
    assert growing.sync() == 0
    bpy.ops.object.mode_set(mode="OBJECT")
    assert not np.allclose(positions(growing.object)[:, 0].max(), 0.5)
    assert growing.sync() == 1
    assert np.allclose(positions(growing.object)[:, 0].max(), 0.5)


def test_a_finished_object_is_the_artists_and_is_not_written_again(growing: Growing) -> None:
    growing.result()
    growing.sync()
    growing.object.data.vertices[0].co.z = 9
    growing.result()
    assert growing.sync() == 0
    assert growing.object.data.vertices[0].co.z == 9


def test_undo_after_growing_does_not_lose_the_object_and_shows_it_as_it_is(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="Add Cube")
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 1
    assert growing.object is not None
    growing.sync()
    assert len(growing.object.data.polygons) == 2
    bpy.ops.ed.redo()
    growing.sync()
    assert len(growing.object.data.polygons) == 2


def test_undo_of_generate_and_redo_brings_the_object_back_as_it_is(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.ops.ed.undo()
    assert growing.object is None
    assert growing.sync() == 0
    bpy.ops.ed.redo()
    growing.sync()
    assert len(growing.object.data.polygons) == 2


def test_undo_and_redo_over_the_end_keep_the_artists_edits(growing: Growing) -> None:
    growing.result()
    growing.sync()
    growing.object.data.vertices[0].co.z = 9
    bpy.ops.ed.undo_push(message="Edit")
    bpy.ops.ed.undo()
    growing.sync()
    assert growing.object.data.vertices[0].co.z != 9
    assert len(growing.object.data.polygons) == 2
    bpy.ops.ed.redo()
    growing.sync()
    assert growing.object.data.vertices[0].co.z == 9


def test_undo_over_the_end_shows_the_result_again_and_leaves_what_can_be_redone(growing: Growing) -> None:
    growing.result()
    growing.sync()
    bpy.ops.ed.undo()
    assert growing.target.growing_jobs() == {JOB}
    growing.result()  # as the backend sends it again
    growing.sync()
    assert len(growing.object.data.polygons) == 2
    assert bpy.ops.ed.redo() == {"FINISHED"}
    assert len(growing.object.data.polygons) == 2
    assert growing.target.growing_jobs() == set()


def test_an_object_that_was_deleted_is_not_made_again_and_nothing_fails(growing: Growing) -> None:
    bpy.data.objects.remove(growing.object)
    growing.preview("mesh", **MESH)
    assert growing.sync() == 0
    assert growing.object is None


def test_a_renamed_and_moved_object_keeps_its_name_and_place(growing: Growing) -> None:
    growing.object.name, growing.object.location = "Hero", (7, 7, 7)
    growing.preview("mesh", **MESH)
    growing.sync()
    assert growing.object.name == "Hero"
    assert tuple(growing.object.location) == (7, 7, 7)


def test_a_material_of_the_artists_own_is_not_touched(growing: Growing) -> None:
    own = bpy.data.materials.new("Own")
    own.use_nodes = True
    growing.object.data.materials.append(own)
    before = [node.name for node in own.node_tree.nodes]
    growing.preview("mesh", **MESH)
    growing.sync()
    growing.result()
    growing.sync()
    assert [node.name for node in own.node_tree.nodes] == before
    assert [m.name for m in growing.object.data.materials] == ["Mushroom", "Own"]


def test_shape_keys_and_modifiers_of_a_growing_object_are_survived(growing: Growing) -> None:
    growing.preview("mesh", **MESH)
    growing.sync()
    growing.object.modifiers.new("Subdivision", "SUBSURF")
    growing.object.shape_key_add(name="Basis")
    growing.object.shape_key_add(name="Smile")
    growing.result()
    growing.sync()
    assert growing.object.data.shape_keys is None
    assert len(growing.object.modifiers) == 1
    assert np.isfinite(positions(growing.object)).all()
    bpy.context.view_layer.update()


def test_the_box_of_a_refused_job_is_taken_away_but_nothing_with_faces_is(growing: Growing) -> None:
    growing.studio.rejected.append(JOB)
    growing.sync()
    assert growing.object is None
    assert "Mushroom" not in bpy.data.collections
    other = Growing(growing.part)
    other.preview("mesh", **MESH)
    other.sync()
    other.studio.rejected.append(JOB)
    other.sync()
    assert other.object is not None
