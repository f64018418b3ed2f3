"""Versions of an object while their jobs go on: undo, files, modes, deletion, links, words."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from refining import Refining, active, fingerprint, monkey, png, shown_image
from scripted_backend import job_state

from dreamcraft3d_protocol.messages import Error


def test_undo_and_redo_at_each_moment(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    bpy.ops.ed.undo()  # nothing has come yet
    assert fingerprint(active().data) == before
    assert len(active().dreamcraft3d_versions) == 0
    refining.paint(said.job, arrays, (255, 0, 0))
    assert fingerprint(active().data) == before
    bpy.ops.ed.redo()
    refining.settle()
    assert tuple(shown_image(active()).pixels[:3]) == (1, 0, 0)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="Add Cube")
    bpy.ops.ed.undo()  # while it is painted
    refining.settle()
    assert tuple(shown_image(bpy.data.objects["Monkey"]).pixels[:3]) == (1, 0, 0)
    refining.finish(said.job, arrays, png((0, 0, 1)))
    bpy.ops.ed.undo()  # over the end
    refining.finish(said.job, arrays, png((0, 0, 1)))  # as the backend sends it again
    made = bpy.data.objects["Monkey"]
    assert tuple(shown_image(made).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)
    bpy.ops.ed.undo()  # over the beginning
    assert fingerprint(bpy.data.objects["Monkey"].data) == before
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    refining.settle()
    made = bpy.data.objects["Monkey"]
    assert tuple(shown_image(made).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)


def test_a_file_that_is_closed_while_it_is_painted_goes_on_when_it_is_opened(
    refining: Refining, tmp_path: Path
) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.paint(said.job, arrays, (255, 0, 0))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "monkey.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    assert refining.target.growing_jobs() == set()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "monkey.blend"))
    assert refining.target.growing_jobs() == {said.job}
    refining.finish(said.job, arrays, png((0, 0, 1)))
    made = bpy.data.objects["Monkey"]
    assert tuple(shown_image(made).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "monkey.blend"))
    made = bpy.data.objects["Monkey"]
    assert tuple(shown_image(made).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)
    bpy.context.view_layer.objects.active = made
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(made.data) == before


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "TEXTURE_PAINT", "WEIGHT_PAINT"])
def test_in_another_mode_what_comes_waits(refining: Refining, mode: str) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    bpy.ops.object.mode_set(mode=mode)
    refining.paint(said.job, arrays, (255, 0, 0))
    assert {p.material_index for p in active().data.polygons} <= {0, 1}
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert refining.target.growing_jobs() == {said.job}
    bpy.ops.object.mode_set(mode="OBJECT")
    refining.settle()
    assert refining.target.growing_jobs() == set()
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)


def test_a_version_out_of_sight_is_brought_up_to_date_when_it_is_shown_again(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    bpy.ops.dreamcraft3d.previous_version()
    refining.paint(said.job, arrays, (255, 0, 0))
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert fingerprint(active().data) == before
    bpy.ops.dreamcraft3d.next_version()
    refining.settle()
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)


def test_a_job_that_will_never_be_leaves_the_object_as_it_was(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    assert bpy.ops.dreamcraft3d.retexture(prompt="a zxqv") == {"FINISHED"}
    said = refining.hear()
    refining.backend.say(Error("user", "The models do not know the word zxqv.", "Try ball.", "edit", said.job))
    refining.until(lambda: len(active().dreamcraft3d_versions) == 0)
    assert fingerprint(active().data) == before
    assert refining.studio.trouble is not None


def test_of_a_job_that_will_never_be_what_is_in_another_mode_is_taken_away_later(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    assert bpy.ops.dreamcraft3d.retexture(prompt="a zxqv") == {"FINISHED"}
    said = refining.hear()
    bpy.ops.object.mode_set(mode="EDIT")
    refining.backend.say(Error("user", "The models do not know the word zxqv.", "Try ball.", "edit", said.job))
    refining.settle()
    bpy.ops.object.mode_set(mode="OBJECT")
    refining.settle()
    assert fingerprint(active().data) == before
    assert refining.target.growing_jobs() == set()


def test_a_cancelled_job_is_one_click_from_what_was_and_goes_on_later(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.backend.say(job_state(said.job, "cancelled"))
    refining.settle()
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(active().data) == before
    bpy.ops.dreamcraft3d.resume(job=said.job)
    refining.finish(said.job, arrays, png((0, 0, 1)))
    bpy.ops.dreamcraft3d.next_version()
    refining.settle()
    assert tuple(shown_image(active()).pixels[:3]) == pytest.approx((0, 0, 1), abs=0.01)


def test_a_stopped_version_may_be_refined_as_it_is_and_one_that_grows_may_not(refining: Refining) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.paint(said.job, arrays, (255, 0, 0))
    assert not bpy.ops.dreamcraft3d.resculpt.poll()
    refining.backend.say(job_state(said.job, "cancelled"))
    refining.settle()
    painted = fingerprint(active().data)
    again, arrays = refining.order(bpy.ops.dreamcraft3d.resculpt, prompt="an owl")
    refining.finish(again.job, arrays | {"uv": np.zeros((3 * len(arrays["faces"]), 2), np.float32)}, png((0, 1, 0)))
    assert refining.target.growing_jobs() == set()
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(active().data) == painted
    assert refining.target.growing_jobs() == {said.job}


def test_a_version_of_a_version_stands_after_it(refining: Refining) -> None:
    monkey()
    names = []
    for _ in range(2):
        said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
        refining.finish(said.job, arrays, png((0, 0, 1)))
        names.append(active().data.name)
        bpy.ops.dreamcraft3d.previous_version()
    assert [mesh.name for mesh in refining.versions.of(active())] == ["Monkey", names[1], names[0]]


def test_an_object_that_is_deleted_takes_its_versions_along(refining: Refining, tmp_path: Path) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    bpy.data.objects.remove(active())
    refining.paint(said.job, arrays, (255, 0, 0))
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert refining.target.find(said.job) is None
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "none.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "none.blend"))
    assert len(bpy.data.meshes) == 0


def test_linked_objects_and_those_that_are_no_mesh_say_what_to_do(refining: Refining, tmp_path: Path) -> None:
    monkey("Shared")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["Shared"]
    linked = bpy.data.objects["Shared"]
    bpy.context.scene.collection.objects.link(linked)
    bpy.context.view_layer.objects.active = linked
    unfit = refining.part("operators.refine").unfit
    assert "Make it local" in unfit(linked)
    assert not bpy.ops.dreamcraft3d.retexture.poll()
    local = bpy.data.objects.new("Local", linked.data)
    bpy.context.scene.collection.objects.link(local)
    bpy.context.view_layer.objects.active = local
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")  # the mesh alone is linked
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert active().data.library is None
    bpy.ops.object.text_add()
    assert "Convert" in unfit(active())


def test_without_words_the_words_of_its_job_are_used_and_without_a_job_they_are_asked_for(refining: Refining) -> None:
    monkey()
    with pytest.raises(RuntimeError, match="Type what"):
        bpy.ops.dreamcraft3d.retexture()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    said, _ = refining.order(bpy.ops.dreamcraft3d.retexture)
    assert said.prompt == "a mushroom"  # as the scripted backend says of all its jobs


def test_what_to_avoid_is_said_with_every_order(refining: Refining) -> None:
    monkey()
    bpy.context.scene.dreamcraft3d.negative = " blue "
    for way in (bpy.ops.dreamcraft3d.retexture, bpy.ops.dreamcraft3d.resculpt):
        said, arrays = refining.order(way, prompt="a monkey")
        assert said.negative == "blue"
        refining.finish(said.job, arrays | {"uv": np.zeros((3 * len(arrays["faces"]), 2), np.float32)}, png((0, 0, 1)))


def test_transforms_and_modifiers_are_applied_to_a_version_as_to_any_mesh(refining: Refining) -> None:
    made = monkey()
    made.shape_key_clear()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    active().scale = (2, 2, 2)
    active().modifiers.new("Triangulate", "TRIANGULATE")
    assert bpy.ops.object.transform_apply() == {"FINISHED"}
    assert bpy.ops.object.modifier_apply(modifier="Triangulate") == {"FINISHED"}
    applied = fingerprint(active().data)
    bpy.ops.dreamcraft3d.previous_version()
    assert bpy.ops.object.transform_apply() == {"FINISHED"}
    bpy.ops.dreamcraft3d.next_version()
    assert fingerprint(active().data) == applied


def test_a_mesh_that_is_put_in_place_of_a_version_is_that_version_also_in_a_saved_file(
    refining: Refining, tmp_path: Path
) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    bpy.ops.object.duplicate(linked=True)
    bpy.ops.object.make_single_user(object=True, obdata=True)
    active().data.transform(Matrix.Scale(2, 4))
    name, mine = active().name, fingerprint(active().data)
    assert refining.versions.place(active()) == (1, 2)
    bpy.ops.dreamcraft3d.previous_version()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "monkey.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "monkey.blend"))
    bpy.context.view_layer.objects.active = bpy.data.objects[name]
    bpy.ops.dreamcraft3d.next_version()
    assert fingerprint(active().data) == mine


def test_what_is_done_to_an_earlier_version_of_a_duplicate_is_not_done_to_the_originals(refining: Refining) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    original = active()
    bpy.ops.object.duplicate()
    assert active() != original
    bpy.ops.dreamcraft3d.previous_version()
    active().data.transform(Matrix.Scale(2, 4))
    bpy.context.view_layer.objects.active = original
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(original.data) == before


def test_a_duplicate_of_what_grows_keeps_the_versions_before_it(refining: Refining) -> None:
    monkey()
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.paint(said.job, arrays, (255, 0, 0))
    original = active()
    bpy.ops.object.duplicate()
    refining.finish(said.job, arrays, png((0, 0, 1)))
    assert not refining.target.finished(active())
    assert refining.target.finished(original)
    bpy.ops.dreamcraft3d.previous_version()
    assert len(active().data.materials) == 2


def test_a_file_in_which_the_mesh_that_is_shown_stands_in_the_list_is_read(refining: Refining, tmp_path: Path) -> None:
    before = fingerprint(monkey().data)
    said, arrays = refining.order(bpy.ops.dreamcraft3d.retexture, prompt="a monkey")
    refining.finish(said.job, arrays, png((0, 0, 1)))
    shown = fingerprint(active().data)
    active().dreamcraft3d_versions[1].mesh = active().data
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "old.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "old.blend"))
    bpy.context.view_layer.objects.active = made = bpy.data.objects["Monkey"]
    assert refining.versions.place(made) == (1, 2)
    bpy.ops.dreamcraft3d.previous_version()
    assert fingerprint(made.data) == before
    bpy.ops.dreamcraft3d.next_version()
    assert fingerprint(made.data) == shown
    assert made.data.users == 1
