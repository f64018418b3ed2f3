"""What an artist does to an object while it grows: it grows on, and nothing that is the artist's own is changed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
import pytest
from belongings import fingerprint
from growing import JOB, MESH, UV, Growing, Part, base_colour_node, positions

PIXELS = np.full((4, 4, 3), 200, np.uint8)


@pytest.fixture
def grown(growing: Growing) -> Growing:
    """One that has a first shape, which is known to undo."""
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.ops.ed.undo_push(message="Something")
    return growing


@pytest.fixture
def own(grown: Growing) -> Any:
    """A cube of the artist's own, with a painted material."""
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    cube.name = "Own"
    material, image = bpy.data.materials.new("Own"), bpy.data.images.new("Own", 4, 4)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    node = nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = next(n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    cube.data.materials.append(material)
    bpy.ops.ed.undo_push(message="Add Cube")
    return cube


def choose(*objects: Any) -> None:
    """These are selected, the last one is active."""
    for one in bpy.context.view_layer.objects:
        one.select_set(one in objects)
    bpy.context.view_layer.objects.active = objects[-1]


def other_scene(grown: Growing) -> None:
    scene = bpy.data.scenes.new("Second")
    scene.collection.objects.link(grown.object)
    bpy.context.window.scene = scene


def move_to_collection(grown: Growing) -> None:
    props, made = bpy.data.collections.new("Props"), grown.object
    bpy.context.scene.collection.children.link(props)
    props.objects.link(made)
    made.users_collection[0].objects.unlink(made)


def exclude(_: Growing) -> None:
    bpy.context.view_layer.layer_collection.children["DreamCraft3D"].exclude = True


def parent(grown: Growing) -> None:
    empty = bpy.data.objects.new("Empty", None)
    bpy.context.scene.collection.objects.link(empty)
    grown.object.parent = empty
    grown.object.constraints.new("COPY_LOCATION").target = empty


def decorate(grown: Growing) -> None:
    made = grown.object
    made.modifiers.new("Subdivision", "SUBSURF")
    made.vertex_groups.new(name="Stem").add([0, 1], 0.5, "ADD")
    made.shape_key_add(name="Basis")
    made.shape_key_add(name="Smile")
    made.keyframe_insert("location")


def instance(grown: Growing) -> None:
    empty = bpy.data.objects.new("Instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", grown.object.users_collection[0]
    bpy.context.scene.collection.objects.link(empty)


def purge(_: Growing) -> None:
    bpy.data.orphans_purge(do_local_ids=True, do_recursive=True)


def weights(grown: Growing) -> None:
    choose(grown.object)
    bpy.ops.object.mode_set(mode="WEIGHT_PAINT")
    grown.preview("mesh", **MESH)
    assert grown.sync() == 0
    bpy.ops.object.mode_set(mode="OBJECT")


ACTS: dict[str, Callable[[Growing], Any]] = {
    "rename": lambda grown: setattr(grown.object, "name", "Hero"),
    "rename the mesh": lambda grown: setattr(grown.object.data, "name", "Hero"),
    "hide": lambda grown: (grown.object.hide_set(True), setattr(grown.object, "hide_render", True)),
    "disable in viewports": lambda grown: setattr(grown.object, "hide_viewport", True),
    "move to another collection": move_to_collection,
    "use in a second scene": other_scene,
    "exclude from the view layer": exclude,
    "parent and constrain": parent,
    "modifiers, groups, shape keys, keyframes": decorate,
    "instance its collection": instance,
    "purge unused data": purge,
    "weight paint": weights,
    "fake user": lambda grown: setattr(grown.object.data, "use_fake_user", True),
    "lock": lambda grown: setattr(grown.object, "lock_location", (True, True, True)),
}


@pytest.mark.parametrize("act", ACTS)
def test_it_grows_on_and_is_finished_whatever_is_done_with_it(grown: Growing, own: Any, act: str) -> None:
    belongings = (own, own.data, own.data.materials[0], bpy.data.images["Own"])
    ACTS[act](grown)
    before = fingerprint(belongings)
    assert grown.grows()
    grown.result()
    assert grown.sync() == 1
    bpy.context.view_layer.update()
    assert grown.target.growing_jobs() == set()
    assert fingerprint(belongings) == before


def test_what_an_artist_joins_into_a_growing_object_is_not_lost(grown: Growing, own: Any) -> None:
    choose(own, grown.object)
    assert bpy.ops.object.join() == {"FINISHED"}
    joined = bpy.context.object
    grown.preview("mesh", **MESH)
    assert grown.sync() == 0
    assert len(joined.data.polygons) == 8
    before = fingerprint([joined, joined.data])
    grown.result()
    assert grown.sync() == 0
    assert fingerprint([joined, joined.data]) == before
    grown.target.make(bpy.context, JOB, "Mushroom", 1.0)  # as Place in Scene does
    assert grown.sync() == 1
    assert len(joined.data.polygons) == 8


def test_what_is_joined_into_the_artists_own_object_is_the_artists(grown: Growing, own: Any) -> None:
    choose(grown.object, own)
    bpy.ops.object.join()
    before = fingerprint([own, own.data])
    assert grown.object is None
    grown.preview("mesh", **MESH)
    grown.result()
    assert grown.sync() == 0
    assert fingerprint([own, own.data]) == before


def test_a_mesh_that_was_cut_in_edit_mode_is_the_artists_and_the_job_can_be_placed_again(grown: Growing) -> None:
    made = grown.object
    choose(made)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")
    faces = len(made.data.polygons)
    assert not grown.sync()
    grown.result()
    assert grown.sync() == 0
    assert len(made.data.polygons) == faces
    assert grown.object is None
    assert bpy.ops.ed.undo_push(message="Subdivide") == {"FINISHED"}
    bpy.ops.ed.undo()
    grown.sync()
    assert grown.object is not None
    assert len(grown.object.data.polygons) == 2


def stretch(grown: Growing) -> None:
    grown.object.scale = (2, 2, 2)
    assert bpy.ops.object.transform_apply(location=False, rotation=False, scale=True) == {"FINISHED"}


def smooth(grown: Growing) -> None:
    grown.object.modifiers.new("Smooth", "SMOOTH")
    assert bpy.ops.object.modifier_apply(modifier="Smooth") == {"FINISHED"}


def pull(grown: Growing) -> None:
    """One vertex, as a brush does."""
    bpy.ops.object.mode_set(mode="SCULPT")
    grown.object.data.vertices[2].co.z += 0.25
    bpy.ops.object.mode_set(mode="OBJECT")


@pytest.mark.parametrize("act", [stretch, smooth, pull])
def test_a_mesh_that_was_deformed_is_the_artists_though_its_faces_are_as_many(
    grown: Growing, act: Callable[[Growing], None]
) -> None:
    made = grown.object
    choose(made)
    act(grown)
    before = positions(made)
    grown.preview("positions", vertices=MESH["vertices"] * np.float32([1, 0.5, 1]))
    assert grown.sync() == 0
    grown.result()
    assert grown.sync() == 0
    assert (positions(made) == before).all()
    assert grown.object is None


def test_undo_in_edit_mode_brings_back_other_vertices_and_the_object_grows_on(grown: Growing) -> None:
    grown.preview("positions", vertices=MESH["vertices"] * np.float32([1, 0.5, 1]))
    grown.sync()  # what no undo step outside edit mode has
    choose(grown.object)
    for mode in ("EDIT", "OBJECT"):
        bpy.ops.object.mode_set(mode=mode)
        bpy.ops.ed.undo_push(message="Mode")
    bpy.ops.ed.undo()
    assert grown.object.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert grown.grows()


def test_an_object_converted_into_a_curve_is_left_alone(grown: Growing) -> None:
    choose(grown.object)
    bpy.ops.object.convert(target="CURVE")
    grown.result()
    assert grown.sync() == 0
    assert grown.target.growing_jobs() == set()


def test_a_mesh_that_the_artist_puts_in_place_of_the_growing_one_is_not_written(grown: Growing, own: Any) -> None:
    grown.object.data = own.data
    before = fingerprint([own, own.data, own.data.materials[0]])
    grown.preview("mesh", **MESH)
    grown.result()
    assert grown.sync() == 0
    assert fingerprint([own, own.data, own.data.materials[0]]) == before


def test_materials_nodes_and_images_of_the_artists_own_stay_as_they_are(grown: Growing, own: Any) -> None:
    theirs = own.data.materials[0]
    material = grown.object.data.materials[0]
    grown.object.data.materials.append(theirs)
    nodes, links = material.node_tree.nodes, material.node_tree.links
    mix = nodes.new("ShaderNodeInvert")
    base = next(n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled").inputs["Base Color"]
    links.new(base.links[0].from_socket, mix.inputs["Color"])
    links.new(mix.outputs["Color"], base)
    nodes.new("ShaderNodeTexImage").image = bpy.data.images["Own"]
    before = fingerprint([theirs, material, bpy.data.images["Own"]])
    grown.preview("texture", uv=UV, texture=PIXELS)
    grown.sync()
    grown.preview("mesh", **MESH)
    grown.sync()
    grown.result()
    grown.sync()
    assert fingerprint([theirs, material, bpy.data.images["Own"]]) == before
    assert list(grown.object.data.materials)[1:] == [theirs]
    assert base_colour_node(grown.object).image.packed_file is not None


def test_a_result_is_worn_also_where_the_artist_has_taken_our_material_away(grown: Growing) -> None:
    grown.object.data.materials.clear()
    grown.preview("mesh", **MESH)
    grown.sync()
    assert len(grown.object.data.materials) == 0
    grown.result()
    grown.sync()
    assert base_colour_node(grown.object).image.packed_file is not None


def test_what_a_job_needs_is_made_again_where_the_artist_has_deleted_it(grown: Growing) -> None:
    for material in list(bpy.data.materials):
        bpy.data.materials.remove(material)
    for image in list(bpy.data.images):
        bpy.data.images.remove(image)
    assert grown.grows()
    bpy.ops.ed.undo()
    grown.result()
    grown.sync()
    assert base_colour_node(grown.object).image.packed_file is not None


def test_undo_of_something_done_before_the_first_shape_came_does_not_end_blender(growing: Growing) -> None:
    for name in ("A", "B"):
        bpy.context.scene.collection.objects.link(bpy.data.objects.new(name, None))
        bpy.ops.ed.undo_push(message=name)
    growing.preview("mesh", **MESH)
    growing.sync()
    bpy.ops.ed.undo()
    bpy.context.view_layer.update()
    growing.result()
    growing.sync()
    bpy.ops.ed.undo()
    bpy.context.view_layer.update()
    growing.result()  # as the backend sends it again
    growing.sync()
    bpy.ops.ed.undo()
    growing.result()
    growing.sync()
    bpy.context.view_layer.update()
    assert base_colour_node(growing.object).image.packed_file is not None


def test_an_image_that_the_artist_shows_instead_is_not_painted(grown: Growing, own: Any) -> None:
    grown.preview("texture", uv=UV, texture=PIXELS)
    grown.sync()
    base_colour_node(grown.object).image = theirs = bpy.data.images["Own"]
    before = fingerprint([theirs])
    grown.preview("texture", uv=UV, texture=PIXELS)
    grown.sync()
    grown.result()
    grown.sync()
    assert fingerprint([theirs]) == before


def test_the_material_of_a_finished_object_is_not_taken_by_another_that_wears_it(grown: Growing, part: Part) -> None:
    grown.result()
    grown.sync()
    finished = grown.object.data.materials[0]
    before = fingerprint([finished])
    second = Growing(part, str(uuid.UUID(int=2)))
    second.object.data.materials.append(finished)
    second.preview("mesh", **MESH)
    second.sync()
    second.result()
    second.sync()
    assert fingerprint([finished]) == before


def test_a_box_that_is_taken_away_leaves_the_artists_collection_and_what_shares_its_mesh(growing: Growing) -> None:
    move_to_collection(growing)
    cube = bpy.data.objects.new("Own", growing.object.data)
    bpy.context.scene.collection.objects.link(cube)
    growing.studio.rejected.append(JOB)
    growing.sync()
    assert growing.object is None
    assert bpy.data.objects["Own"].data is not None
    assert "Props" in bpy.data.collections


def test_while_a_render_reads_the_mesh_it_waits(grown: Growing, monkeypatch: pytest.MonkeyPatch) -> None:
    running = {"RENDER"}
    monkeypatch.setattr(grown.target, "bpy", _Rendering(running))
    before = positions(grown.object)
    grown.preview("mesh", **(MESH | {"vertices": MESH["vertices"] * [[1, 4, 1]]}))
    assert grown.sync() == 0
    assert (positions(grown.object) == before).all()
    running.clear()
    assert grown.sync() == 1


class _Rendering:
    """bpy, with jobs of Blender's running that run only where there is a window."""

    def __init__(self, running: set[str]) -> None:
        self.data, self.app = bpy.data, self
        self.is_job_running = lambda job: job in running
