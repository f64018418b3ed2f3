"""Copies of a growing object: by hand, with shared data, from other files. The original grows on, a copy stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from belongings import fingerprint
from growing import JOB, MESH, UV, Growing, base_colour_node

RED = np.broadcast_to(np.uint8([200, 0, 0]), (4, 4, 3)).copy()


@pytest.fixture
def grown(growing: Growing) -> Growing:
    growing.preview("mesh", **MESH)
    growing.sync()
    return growing


def duplicate(grown: Growing, linked: bool = False) -> Any:
    """As Shift-D or Alt-D does."""
    for one in bpy.context.view_layer.objects:
        one.select_set(one == grown.object)
    bpy.context.view_layer.objects.active = grown.object
    bpy.ops.object.duplicate(linked=linked)
    bpy.ops.ed.undo_push(message="Duplicate")
    copy = bpy.context.object
    assert copy != grown.object
    return copy


def looks(made: Any) -> str:
    """Of its mesh and materials, without their marks."""
    materials = list(made.data.materials)
    return fingerprint(
        [*materials, *[n.image for m in materials for n in m.node_tree.nodes if getattr(n, "image", None)]]
    )


def test_the_original_grows_on_and_a_duplicate_stays_as_it_is(grown: Growing) -> None:
    original = grown.object
    copy = duplicate(grown)
    original.name, copy.name = "Z", "A"  # the copy now comes first by name
    assert grown.grows()
    assert grown.object == original
    assert len(original.data.polygons) == 1
    assert len(copy.data.polygons) == 2
    assert not grown.target.growing(copy)
    grown.result()
    grown.sync()
    assert len(original.data.polygons) == 2
    assert not copy.data.uv_layers
    assert type(base_colour_node(original)) is not type(base_colour_node(copy))
    assert base_colour_node(copy).layer_name == "Color"


def test_a_duplicate_does_not_wear_the_picture_that_goes_on_being_painted(grown: Growing) -> None:
    grown.preview("texture", uv=UV, texture=RED)
    grown.sync()
    copy = duplicate(grown)
    grown.preview("texture", uv=UV, texture=RED[..., ::-1].copy())
    grown.sync()
    before = looks(copy)
    assert base_colour_node(copy).layer_name == "Color"
    assert tuple(base_colour_node(grown.object).image.pixels[:3]) == pytest.approx((0, 0, 200 / 255), abs=0.01)
    grown.result()
    grown.sync()
    assert looks(copy) == before


def test_undo_and_redo_of_duplicating_change_nothing_of_that(grown: Growing) -> None:
    bpy.ops.ed.undo_push(message="Something")
    duplicate(grown)
    assert grown.grows()
    bpy.ops.ed.undo()
    assert grown.grows()
    bpy.ops.ed.redo()
    assert grown.grows()
    copies = [o for o in bpy.data.objects if o.type == "MESH" and o != grown.object]
    assert len(copies) == 1
    assert len(copies[0].data.polygons) == 2
    assert not grown.target.growing(copies[0])


def test_a_duplicate_grows_where_the_original_was_deleted_at_once(grown: Growing) -> None:
    copy = duplicate(grown)
    bpy.data.objects.remove(grown.object)
    assert grown.grows()
    assert grown.object == copy


def test_a_linked_duplicate_shares_the_mesh_that_grows_also_when_the_original_is_deleted(grown: Growing) -> None:
    copy = duplicate(grown, linked=True)
    assert copy.data == grown.object.data
    assert grown.grows()
    copy.select_set(True)
    bpy.context.view_layer.objects.active = copy
    bpy.ops.object.mode_set(mode="SCULPT")
    grown.preview("mesh", **MESH)
    assert grown.sync() == 0  # the mesh is sculpted, by way of the copy
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.data.objects.remove(grown.object)
    grown.result()
    assert grown.sync() == 1
    assert copy.data.uv_layers
    assert not grown.target.growing(copy)


def test_which_is_the_original_is_still_known_when_the_file_is_opened_again(grown: Growing, tmp_path: Path) -> None:
    copy = duplicate(grown)
    copy.name, grown.object.name = "A", "Z"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "two.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "two.blend"))
    assert grown.object.name == "Z"
    assert not grown.target.growing(bpy.data.objects["A"])


@pytest.fixture
def library(grown: Growing, tmp_path: Path) -> Path:
    """A file in which an object grows; another one is open now."""
    path = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.ed.undo_push(message="Empty")
    return path


def bring(library: Path, link: bool) -> Any:
    with bpy.data.libraries.load(str(library), link=link) as (source, wanted):
        wanted.objects = source.objects
    made = wanted.objects[0]
    bpy.context.scene.collection.objects.link(made)
    return made


def test_a_linked_object_grows_in_its_own_file_alone(library: Path, grown: Growing) -> None:
    linked = bring(library, link=True)
    before = fingerprint([linked.data])
    assert grown.target.growing_jobs() == set()
    grown.preview("mesh", **MESH)
    grown.result()
    assert grown.sync() == 0
    assert fingerprint([linked.data]) == before


def test_a_library_override_is_left_alone(library: Path, grown: Growing) -> None:
    override = bring(library, link=True).override_create(remap_local_usages=True)
    before = fingerprint([override.data])
    assert override.library is None
    assert grown.target.growing_jobs() == set()
    grown.result()
    assert grown.sync() == 0
    assert fingerprint([override.data]) == before
    mesh = override.data.override_create(remap_local_usages=True)
    assert mesh is None or grown.target.growing_jobs() == set()


def test_an_appended_object_grows_unless_the_original_is_here(library: Path, grown: Growing) -> None:
    first = bring(library, link=False)
    assert grown.target.growing_jobs() == {JOB}
    grown.preview("mesh", **MESH)
    assert grown.sync() == 1
    second = bring(library, link=False)
    assert grown.grows()
    assert grown.object == first
    assert len(second.data.polygons) == 2
    assert not grown.target.growing(second)


def test_a_linked_object_beside_a_local_one_does_not_stop_it(library: Path, grown: Growing) -> None:
    linked = bring(library, link=True)
    grown.target.make(bpy.context, JOB, "Mushroom", 1.0)
    grown.preview("mesh", **MESH)
    assert grown.sync() == 1
    assert grown.object != linked
