"""What the sidebar shows in every state of the backend, drawn on a layout that checks every name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from fake_layout import FakeLayout, draw, draw_appended
from growing import MESH, Growing

from dreamcraft3d_protocol.messages import Fault, JobList, JobState, PresetInfo, Preview, Welcome, Worker

Part = Callable[[str], ModuleType]
JOB = str(uuid.UUID(int=1))
PHASES = "searching missing installing off starting connecting ready busy stopping refused lost failed offline".split()
STATES = "queued running pausing paused cancelling cancelled done failed".split()


def job(state: str, error: Fault | None = None) -> JobState:
    return JobState(JOB, "Mushroom", "a mushroom", "draft", 0, state, "coarse", 1, 4, 3, 9, 1.0, 9.0, "", error, 1.0)  # type: ignore[arg-type]


def panels(part: Part) -> list[type]:
    return [one for one in part("registration").CLASSES if issubclass(one, bpy.types.Panel | bpy.types.Menu)]


def draw_all(part: Part) -> tuple[str, list[str]]:
    shown = [panel for panel in panels(part) if "poll" not in vars(panel) or panel.poll(bpy.context)]  # type: ignore[attr-defined]
    layouts: list[FakeLayout] = [draw(panel) for panel in shown]
    return " ".join(t for one in layouts for t in one.said), [b for one in layouts for b in one.buttons]


@pytest.mark.parametrize("phase", PHASES)
def test_every_panel_draws_in_every_state_of_the_backend(
    phase: str, blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = part("core.status")
    mend = "restart_backend" if phase in ("refused", "lost") else ""
    shown = status.Status(
        phase, "A Title", "A sentence that is long enough to be wrapped to the next line.", mend, factor=0.5
    )
    monkeypatch.setattr(part("core.session").Session, "status", shown)
    said, buttons = draw_all(part)
    assert "A Title" in said
    assert "wrapped" in said
    assert "dreamcraft3d.generate" in buttons
    assert ("dreamcraft3d.restart_backend" in buttons) == (mend != "" or phase in ("ready", "busy"))


@pytest.mark.parametrize("state", STATES)
def test_every_panel_draws_a_job_in_every_state(state: str, blender: Any, part: Part) -> None:
    studio = part("pump").studio()
    fault = Fault("worker", "The worker died.", "Try a smaller preset.", "resume") if state == "failed" else None
    studio.jobs.take(JobList((job(state, fault),)))
    said, buttons = draw_all(part)
    assert "Mushroom" in said
    assert ("dreamcraft3d.cancel" in buttons) == (state in ("queued", "running", "pausing", "paused"))
    assert ("dreamcraft3d.pause" in buttons) == (state in ("queued", "running"))
    assert ("dreamcraft3d.resume" in buttons) == (state in ("paused", "cancelled", "failed"))
    assert ("dreamcraft3d.advance" in buttons) == (state == "running")
    assert ("dreamcraft3d.pause_all" in buttons) == (state in ("queued", "running"))
    assert ("dreamcraft3d.resume_all" in buttons) == (state == "paused")
    assert ("smaller preset" in said) == (state == "failed")


def test_without_jobs_the_panels_say_what_to_do_next(blender: Any, part: Part) -> None:
    said, _ = draw_all(part)
    assert "press Generate" in said
    assert "No jobs yet" in said


def test_a_picture_is_an_icon_of_its_own_for_as_long_as_it_is_held(blender: Any, part: Part) -> None:
    pictures, picture = part("scene.icons").Pictures(), part("core.previews").Picture
    red, white = np.zeros((24, 32, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[0, :, 0], white[:] = 255, 255
    held = {"reference": picture(white, ""), "samples": picture(red, "round 1")}
    pictures.update({JOB: held})
    reference, samples = pictures._icons.values()
    assert tuple(samples.image_size) == (32, 24)
    assert tuple(samples.image_pixels_float[-4:]) == (1, 0, 0, 1)  # the top row is the last in Blender
    assert tuple(samples.image_pixels_float[:4]) == (0, 0, 0, 1)
    assert tuple(reference.image_size) == (8, 8)
    pictures.update({JOB: {"reference": held["reference"]}})
    assert list(pictures._icons.values()) == [reference]
    assert pictures.icon(JOB, "samples") == 0
    pictures.update({})
    assert len(pictures._icons) == 0
    pictures.close()


@pytest.mark.parametrize("state", ["running", "cancelled", "done"])
def test_samples_have_a_closed_panel_of_their_own_beneath_the_reference(
    state: str, blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, panel = part("pump").studio(), part("panels.progress").DREAMCRAFT3D_PT_samples
    numbers = {"reference": 5, "samples": 7}  # without a window Blender gives icons none
    monkeypatch.setattr(part("scene.icons").Pictures, "icon", lambda self, job, subject: numbers[subject])
    studio.jobs.take(JobList((job(state),)))
    pixels = {"picture": np.zeros((8, 16, 3), np.uint8)}
    studio.previews.take(Preview(JOB, 1, "reference", "picture", "", None, "reference"), pixels)
    assert not panel.poll(bpy.context)
    studio.previews.take(Preview(JOB, 2, "texture", "picture", "", None, "samples", "round 2, t' 0.3"), pixels)
    assert panel.poll(bpy.context)
    assert (panel.bl_parent_id, panel.bl_options) == ("DREAMCRAFT3D_PT_progress", {"DEFAULT_CLOSED"})
    layout = draw(panel)
    assert layout.said == ["Round 2, t' 0.3"]
    assert layout.icons == [7]
    assert draw(part("panels.progress").DREAMCRAFT3D_PT_progress).icons == ([] if state == "done" else [5])


def test_the_status_bar_shows_what_runs_and_nothing_else(blender: Any, part: Part) -> None:
    studio, bar = part("pump").studio(), part("panels.status_bar")
    for state in STATES:
        studio.jobs.take(JobList((replace(job(state), left_seconds=200.0),)))
        said = draw_appended(bar.draw).said
        if state in ("running", "pausing", "cancelling"):
            assert "Mushroom: Rough Shape (2 of 4)" in said[0]
            assert ("3 min until it is done" in said[0]) == (state == "running")
        else:
            assert said == []


def test_the_status_bar_is_as_it_was_when_the_add_on_is_disabled(blender: Any, part: Part) -> None:
    registration, drawn = part("registration"), part("panels.status_bar").draw
    functions = bpy.types.STATUSBAR_HT_header._dyn_ui_initialize()
    assert drawn in functions
    registration.unregister()
    assert drawn not in functions
    registration.register()
    assert drawn in functions


def test_jobs_that_wait_can_be_moved_where_there_is_more_than_one(blender: Any, part: Part) -> None:
    studio = part("pump").studio()
    studio.jobs.take(JobList((job("queued"),)))
    assert "dreamcraft3d.move" not in draw_all(part)[1]
    other = replace(job("queued"), job=str(uuid.UUID(int=2)), position=2)
    studio.jobs.take(JobList((job("queued"), other)))
    buttons = draw_all(part)[1]
    assert buttons.count("dreamcraft3d.move") == 4
    assert "dreamcraft3d.forget" not in buttons  # cancel it first: the names need the room


def test_every_job_of_many_can_be_placed_and_deleted(blender: Any, part: Part) -> None:
    jobs = part("pump").studio().jobs
    jobs.take(JobList(tuple(replace(job("done"), job=str(uuid.UUID(int=number))) for number in range(25))))
    layout = draw(part("panels.jobs").DREAMCRAFT3D_PT_jobs)
    assert "And 15 More" in layout.said
    assert [layout.buttons.count(f"dreamcraft3d.{name}") for name in ("attach", "forget")] == [25, 25]


def test_an_object_that_is_there_is_selected_where_it_is_placed(blender: Any, part: Part) -> None:
    part("pump").studio().jobs.take(JobList((job("running"),)))
    assert bpy.ops.dreamcraft3d.attach(job=JOB) == {"FINISHED"}
    made = bpy.context.object
    bpy.ops.mesh.primitive_cube_add()
    assert bpy.ops.dreamcraft3d.attach(job=JOB) == {"FINISHED"}
    assert (bpy.context.object, bpy.context.selected_objects) == (made, [made])


def test_what_is_said_of_an_object_that_waits_holds_for_each_reason(blender: Any, part: Part) -> None:
    growing = Growing(part)
    growing.studio.jobs.take(JobList((job("running"),)))
    growing.preview("mesh", **MESH)
    progress = part("panels.progress").DREAMCRAFT3D_PT_progress
    assert "up to date" not in " ".join(draw(progress).said)
    double = growing.object.copy()
    bpy.context.scene.collection.objects.link(double)
    bpy.context.view_layer.objects.active = double
    bpy.ops.object.mode_set(mode="EDIT")
    assert growing.object.mode == "OBJECT"
    assert "when nothing edits, renders or bakes it any longer" in " ".join(draw(progress).said)


def test_what_a_quality_takes_and_changes_is_told_before_the_run(
    blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, details = part("core.session").Session, part("panels.details").DREAMCRAFT3D_PT_changes
    told = PresetInfo("draft", "Rough", 42.0, 1610612736, ("Steps of painting: 16 instead of 300",))
    monkeypatch.setattr(session, "welcome", Welcome(2, 0, "", JOB, (PresetInfo("embedded", "Toys"), told)))
    assert not details.poll(bpy.context)
    bpy.context.scene.dreamcraft3d.preset = "draft"
    said, _ = draw_all(part)
    assert "About 42 s, 1.5 GB of memory" in said
    assert "Steps of painting: 16 instead of 300" in said


def test_the_backend_panel_tells_the_card_and_its_memory(blender: Any, part: Part) -> None:
    told = part("core.status")._open(Worker("busy", "cuda", "", "H100", 80 << 30, 41 << 30, 3 << 30))
    assert (told.device, told.memory) == ("H100", "41 GB of 80 GB free")
    told = part("core.status")._open(Worker("resting", "cpu", "Its memory is free.", "", 16 << 30, 8 << 30, 1 << 30))
    assert (told.title, told.device, told.memory) == ("Resting", "Processor", "1.0 GB taken, 8.0 GB of 16 GB free")


@pytest.mark.parametrize("way", ["RETEXTURE", "REPAINT", "RESCULPT", "GO_ON"])
@pytest.mark.parametrize("kind", ["none", "mesh", "made here", "text"])
def test_refine_draws_each_way_for_each_object_and_says_what_is_missing(
    way: str, kind: str, blender: Any, part: Part
) -> None:
    panel, form = part("panels.refine").DREAMCRAFT3D_PT_refine, bpy.context.scene.dreamcraft3d_refine
    part("pump").studio().jobs.take(JobList((job("done"),)))
    form.way = way
    if kind == "none":
        assert not panel.poll(bpy.context)
        return
    (bpy.ops.object.text_add if kind == "text" else bpy.ops.mesh.primitive_cube_add)()
    if kind == "made here":
        bpy.context.object["dreamcraft3d_job"] = JOB
    for chosen in ("SELECTION", "GROUP", "ATTRIBUTE", "IMAGE"):
        form.part = chosen
        layout = draw(panel)
        said = " ".join(layout.said)
        button = {"GO_ON": "go_on"}.get(way, way.lower())
        assert f"dreamcraft3d.{button}" in layout.buttons
        assert ("Type what it shall become." in said) == (kind == "mesh" and way != "GO_ON")
        assert ("finished no stage" in said) == (kind == "made here" and way == "GO_ON")
        assert ("Convert the object" in said) == (kind == "text")
    assert "dreamcraft3d.previous_version" not in layout.buttons


def test_an_object_with_versions_says_which_one_it_shows(blender: Any, part: Part) -> None:
    bpy.ops.mesh.primitive_cube_add()
    versions = part("scene.versions")
    with versions.added(bpy.context.object):
        pass
    layout = draw(part("panels.refine").DREAMCRAFT3D_PT_refine)
    assert "Version 2 of 2" in layout.said
    assert {"dreamcraft3d.previous_version", "dreamcraft3d.next_version"} <= set(layout.buttons)
    assert not bpy.ops.dreamcraft3d.next_version.poll()
    assert bpy.ops.dreamcraft3d.previous_version() == {"FINISHED"}
    assert not bpy.ops.dreamcraft3d.previous_version.poll()


def test_previous_version_is_offered_for_the_object_that_it_changes(blender: Any, part: Part) -> None:
    bpy.ops.mesh.primitive_cube_add()
    made, versions = bpy.context.object, part("scene.versions")
    with versions.added(made):
        part("scene.target").begin(made, JOB)
    part("pump").studio().jobs.take(JobList((job("cancelled"),)))
    progress = part("panels.progress").DREAMCRAFT3D_PT_progress
    assert "dreamcraft3d.previous_version" in draw(progress).buttons
    bpy.ops.mesh.primitive_cube_add()
    with versions.added(bpy.context.object):
        pass
    layout = draw(progress)
    assert "dreamcraft3d.resume" in layout.buttons
    assert "dreamcraft3d.previous_version" not in layout.buttons


def test_all_labels_are_title_case_and_no_description_ends_with_a_period(installed: str, part: Part) -> None:
    small = {"in", "the", "a", "of", "to", "and", "as", "from", "on"}
    for one in part("registration").CLASSES:
        label = getattr(one, "bl_label", "")
        assert all(word[0].isupper() or word in small for word in label.split()), label
        assert not (one.__doc__ or "").endswith(".") or not issubclass(one, bpy.types.Operator), one
