"""Files, scenes, Blender and the backend come and go while an object grows; what was made reaches it all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bpy
import pytest
from belongings import fingerprint
from growing import JOB
from stage_backend import Stage

from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.messages import Attach, Result, Submit


@pytest.fixture
def job(stage: Stage) -> str:
    """One that has shown a shape of four faces."""
    job = stage.generate()
    stage.backend.become(job, "running")
    stage.backend.mesh(job, 6)
    stage.settle()
    assert stage.faces(job) == 4
    return job


def finished(stage: Stage, job: str) -> bool:
    made = stage.object(job)
    return made is not None and len(made.data.polygons) == 2 and not stage.part("scene.target").growing(made)


def new_file() -> None:
    bpy.ops.wm.read_homefile(use_empty=True)


def test_undo_before_the_first_shape_and_redo(stage: Stage) -> None:
    job = stage.generate()
    bpy.ops.ed.undo()
    stage.settle()
    stage.backend.mesh(job)
    stage.settle()
    assert stage.faces(job) == -1
    bpy.ops.ed.redo()
    stage.settle()
    assert stage.faces(job) == 4
    stage.backend.done(job)
    stage.settle()
    assert finished(stage, job)


def test_undo_and_redo_between_shapes_and_after_the_result(stage: Stage, job: str) -> None:
    for sides in (8, 9):
        bpy.ops.mesh.primitive_cube_add()
        bpy.ops.ed.undo_push(message="Add Cube")
        stage.backend.mesh(job, sides)
        stage.settle()
        bpy.ops.ed.undo()
        stage.settle()
        assert stage.faces(job) == sides - 2
        bpy.ops.ed.redo()
        stage.settle()
        assert stage.faces(job) == sides - 2
    stage.backend.done(job)
    stage.settle()
    for deed in (bpy.ops.ed.undo, bpy.ops.ed.undo, bpy.ops.ed.redo, bpy.ops.ed.redo):
        deed()
        stage.settle()
        assert finished(stage, job)


def test_a_new_file_lets_go_of_the_job_and_the_old_one_is_brought_up_to_date(
    stage: Stage, job: str, tmp_path: Path
) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    new_file()
    stage.backend.mesh(job, 9)
    stage.settle()
    assert len(bpy.data.objects) == 0
    assert stage.studio.previews.shapes == {}
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    stage.settle()
    assert stage.faces(job) == 7
    new_file()
    stage.backend.done(job)
    stage.settle()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    stage.settle()
    assert finished(stage, job)


def test_saved_under_another_name_it_grows_in_both_files(stage: Stage, job: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / f"{name}.blend"))
        stage.backend.mesh(job, 9)
        stage.settle()
        assert stage.faces(job) == 7
    stage.backend.done(job)
    for name in ("a", "b"):
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / f"{name}.blend"))
        stage.settle()
        assert finished(stage, job)


def test_what_is_being_painted_is_in_the_file_that_is_saved(stage: Stage, job: str, tmp_path: Path) -> None:
    stage.backend.texture(job)
    stage.settle()

    def painted() -> list[float]:
        return list(stage.object(job).data["dreamcraft3d_picture"].pixels)

    before = painted()
    assert len(before) == 8 * 8 * 4
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    stage.kill()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert painted() == before
    stage.restart()
    stage.backend.mesh(job)
    stage.backend.texture(job)
    stage.settle()
    assert painted() != before
    assert len(bpy.data.images) == 1


def test_a_deleted_object_stays_deleted_and_can_be_placed_again(stage: Stage, job: str) -> None:
    bpy.data.objects.remove(stage.object(job))
    stage.backend.done(job)
    stage.settle()
    assert stage.faces(job) == -1
    assert bpy.ops.dreamcraft3d.attach(job=job) == {"FINISHED"}
    stage.settle()
    assert finished(stage, job)


def test_a_scene_deleted_while_it_grows_there_leaves_the_object_to_be_placed_in_another(stage: Stage, job: str) -> None:
    other = bpy.data.scenes.new("Other")
    bpy.data.scenes.remove(bpy.context.scene)
    assert bpy.context.scene == other
    stage.backend.mesh(job, 9)
    stage.backend.done(job)
    stage.settle()
    assert bpy.ops.dreamcraft3d.attach(job=job) == {"FINISHED"}
    stage.settle()
    assert finished(stage, job)
    assert stage.object(job).name in other.objects


def test_purging_takes_nothing_of_what_grows(stage: Stage, job: str) -> None:
    stage.backend.texture(job)
    stage.settle()
    bpy.data.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
    stage.backend.mesh(job, 9)
    stage.backend.done(job)
    stage.settle()
    bpy.data.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
    assert finished(stage, job)
    assert len(bpy.data.images) == 1


def test_a_backend_that_is_killed_and_comes_back_goes_on_with_it(stage: Stage, job: str) -> None:
    stage.kill()
    assert stage.faces(job) == 4
    stage.restart()
    stage.backend.colours(job, "of a base that nobody has")
    stage.backend.mesh(job, 9)
    stage.settle()
    assert stage.faces(job) == 7
    stage.kill()
    stage.restart()
    stage.backend.done(job)
    stage.settle()
    assert finished(stage, job)


def test_the_add_on_disabled_and_enabled_again_goes_on_with_it(stage: Stage, job: str, installed: str) -> None:
    bpy.ops.preferences.addon_disable(module=installed)
    stage.backend.mesh(job, 9)
    bpy.ops.preferences.addon_enable(module=installed)
    preferences = bpy.context.preferences.addons[installed].preferences
    preferences.data, preferences.autostart = str(stage.backend.data), False
    stage.settle()
    assert stage.faces(job) == 7
    stage.backend.done(job)
    stage.settle()
    assert finished(stage, job)


def test_a_script_in_the_background_orders_with_the_form_or_with_a_client(stage: Stage, part: Any) -> None:
    job = stage.generate("a blue ball")
    assert stage.backend.jobs[job].told.state == "queued"
    client = Client(local_target(stage.backend.data), "script", "1")
    client.send(Submit(JOB, "a ball", "draft", 1))
    stage.go_on(lambda: client.receive() is not None and JOB in stage.backend.jobs)
    client.send(Attach(JOB))
    stage.backend.done(JOB)
    heard: list[Any] = []

    def arrived() -> bool:
        heard.extend(message for message, _ in client.receive())
        return any(isinstance(message, Result) for message in heard)

    stage.go_on(arrived)
    client.close()


def test_a_file_with_a_mark_that_is_no_job_is_no_trouble(stage: Stage, tmp_path: Path) -> None:
    job = stage.generate()
    stage.object(job)["dreamcraft3d_job"] = "not an id"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    stage.settle()
    assert stage.studio.trouble is None
    assert len(bpy.data.objects) == 1


OTHER_BLENDER = """
import importlib, sys, time
import bpy
zip, data, file, deed = sys.argv[1:]
bpy.ops.extensions.package_install_files(filepath=zip, repo="user_default", enable_on_install=True)
name = "bl_ext.user_default.dreamcraft3d"
preferences = bpy.context.preferences.addons[name].preferences
preferences.data, preferences.autostart = data, False
pump, target = (importlib.import_module(f"{name}.{part}") for part in ("pump", "scene.target"))
if deed == "order":
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.dreamcraft3d.prompt = "a red mushroom"
    while not pump.studio().session.connected:
        pump.pump()
    bpy.ops.dreamcraft3d.generate()
else:
    bpy.ops.wm.open_mainfile(filepath=file)
saved = False
while True:
    pump.pump()
    time.sleep(0.01)
    made = next((o for o in bpy.data.objects if o.get("dreamcraft3d_job")), None)
    if deed == "order" and not saved and len(made.data.polygons) == 4:
        bpy.ops.wm.save_as_mainfile(filepath=file, copy=True)  # as autosaving does: this Blender does not know of it
        saved = True
        print("saved", flush=True)
    if deed == "open" and not target.growing(made):
        print("finished", len(made.data.polygons), flush=True)
        break
"""


def test_a_blender_that_is_killed_is_followed_by_another_beside_a_third(
    stage: Stage, archive: Path, tmp_path: Path
) -> None:
    script, file = tmp_path / "other.py", tmp_path / "autosaved.blend"
    script.write_text(OTHER_BLENDER)

    def start(deed: str) -> subprocess.Popen[str]:
        home = tmp_path / deed
        home.mkdir()
        command = [sys.executable, str(script), str(archive), str(stage.backend.data), str(file), deed]
        environment = os.environ | {"BLENDER_USER_RESOURCES": str(home)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    first = start("order")
    try:
        stage.go_on(lambda: len(stage.studio.jobs.by_id) == 1, 60)
        job = next(iter(stage.backend.jobs))
        assert bpy.ops.dreamcraft3d.attach(job=job) == {"FINISHED"}  # in this Blender, too
        stage.backend.mesh(job, 6)
        stage.go_on(file.exists, 60)
    finally:
        first.kill()
        first.wait()
    assert stage.faces(job) == 4
    second = start("open")
    try:
        stage.backend.done(job)
        stage.go_on(lambda: second.poll() is not None, 60)
        assert "finished 2" in second.communicate()[0]
    finally:
        second.kill()
    assert finished(stage, job)


def test_a_second_session_on_the_same_backend_takes_nothing_from_the_first(stage: Stage, job: str) -> None:
    cube = bpy.data.objects.new("Own", bpy.data.meshes.new("Own"))
    bpy.context.scene.collection.objects.link(cube)
    before = fingerprint([cube, cube.data])
    client = Client(local_target(stage.backend.data), "other", "1")
    client.send(Attach(job))
    stage.go_on(lambda: client.receive() == [] and client.state == "open")
    stage.backend.mesh(job, 9)
    client.close()
    stage.backend.done(job)
    stage.settle()
    assert finished(stage, job)
    assert fingerprint([cube, cube.data]) == before
