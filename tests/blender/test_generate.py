"""An artist's afternoon: the real backend, started by the add-on, makes an object in the scene."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from fake_layout import draw
from launcher import alive, backend_python, end_backend, wait_until

from dreamcraft3d_protocol.connection import Connection

Part = Callable[[str], ModuleType]


@pytest.fixture
def studio(blender: Any, part: Part, tmp_path: Path) -> Iterator[Any]:
    """The studio, with a Python that has the backend named in the preferences."""
    blender.python = str(backend_python(tmp_path))
    yield part("pump").studio()
    end_backend(tmp_path / "data")


@pytest.fixture
def pump(part: Part) -> Callable[[], bool]:
    return lambda: part("pump").pump(0.01) > 0


def ask(**form: Any) -> None:
    for name, value in form.items():
        setattr(bpy.context.scene.dreamcraft3d, name, value)


def only_job(studio: Any) -> Any:
    return next(iter(studio.jobs.by_id.values()), None)


def state(studio: Any) -> str:
    job = only_job(studio)
    return "" if job is None else str(job.state)


def generate() -> None:
    assert bpy.ops.dreamcraft3d.generate() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Generate")  # as Blender does after an operator that is not called by a script


def test_a_prompt_becomes_a_textured_object_that_grows_at_the_cursor(
    studio: Any, pump: Callable[[], bool], part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, seen = part("scene.mesh"), []
    write = mesh.write

    def watched(target: Any, shape: Any) -> bool:
        moved: bool = write(target, shape)
        seen.append((len(target.vertices), "Color" in target.color_attributes))
        return moved

    monkeypatch.setattr(mesh, "write", watched)
    bpy.context.scene.cursor.location = (1, 2, 3)
    ask(prompt="a red mushroom", preset="draft", seed=1, size=2.0)
    generate()
    box = bpy.context.object
    assert (box.name, len(box.data.polygons), tuple(box.location)) == ("Red Mushroom", 0, (1, 2, 3))

    wait_until(lambda: pump() and (len(seen) >= 2 or state(studio) == "failed"), 240, lambda: studio.session.status)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="Add Cube")
    bpy.ops.ed.undo()  # while it grows
    wait_until(lambda: pump() and state(studio) in ("done", "failed"), 240, lambda: only_job(studio))
    assert state(studio) == "done"
    target = part("scene.target")
    wait_until(lambda: pump() and not target.growing_jobs(), 20)

    made = bpy.data.objects["Red Mushroom"]
    assert len([one for one in seen if one[1]]) >= 5, seen
    assert len(made.data.polygons) > 300
    assert tuple(made.location) == (1, 2, 3)
    bpy.context.view_layer.update()
    assert max(made.dimensions) == pytest.approx(2, rel=1e-3)
    assert [c.name for c in made.users_collection] == ["Red Mushroom"]
    assert len(made.data.uv_layers) == 1
    node = made.data.materials[0].node_tree.nodes["Image Texture"]
    pixels = np.array(node.image.pixels).reshape(-1, 4)
    assert node.image.size[0] >= 256
    assert pixels[:, :3].std() > 0.02
    assert redness(made, node.image) > 0.1
    corner = [made.matrix_world @ v.co for v in made.data.vertices]
    assert min(c.z for c in corner) == pytest.approx(3, abs=1e-3)

    job = only_job(studio).job
    reference, samples = (studio.previews.pictures[job][subject] for subject in ("reference", "samples"))
    assert samples.caption == "round 1, t' 0.4"
    side = len(reference.pixels)
    assert samples.pixels.shape == (2 * side, 4 * side, 3)
    first = samples.pixels[:side, :side].astype(int)
    assert np.abs(first - reference.pixels).mean() < 20  # it is among what is learnt from
    assert set(studio.previews.pictures[job]) == {"reference", "surface", "samples"}
    assert len(part("pump").pictures()._icons) == 3

    bpy.ops.ed.undo()
    wait_until(lambda: pump() and len(bpy.data.objects["Red Mushroom"].data.polygons) > 300, 20)
    bpy.ops.ed.redo()
    pump()
    assert len(bpy.data.objects["Red Mushroom"].data.polygons) > 300

    # The object of a job that is kept comes back into an empty file.
    bpy.ops.wm.read_homefile(use_empty=True)
    pump()
    assert len(part("pump").pictures()._icons) == 0
    assert bpy.ops.dreamcraft3d.attach(job=job) == {"FINISHED"}
    wait_until(lambda: pump() and not target.growing_jobs(), 20)
    assert len(bpy.data.objects["Red Mushroom"].data.polygons) > 300
    assert bpy.ops.dreamcraft3d.forget(job=job) == {"FINISHED"}
    wait_until(lambda: pump() and studio.jobs.by_id == {}, 20)


def redness(made: Any, image: Any) -> float:
    """How much redder than green the texture is where the faces are, on average."""
    width, height = image.size
    pixels = np.array(image.pixels).reshape(height, width, 4)
    uv = np.empty(2 * len(made.data.loops), np.float32)
    made.data.uv_layers[0].uv.foreach_get("vector", uv)
    column, row = (uv.reshape(-1, 3, 2).mean(axis=1) * [width - 1, height - 1]).round().astype(int).T
    seen = pixels[row, column]
    return float((seen[:, 0] - seen[:, 1]).mean())


def test_a_job_is_cancelled_the_file_closed_and_opened_again_and_the_job_goes_on(
    studio: Any, pump: Callable[[], bool], part: Part, tmp_path: Path
) -> None:
    ask(prompt="a blue ball", preset="draft", seed=2)
    generate()
    wait_until(lambda: pump() and len(bpy.context.object.data.polygons) > 0, 240, lambda: studio.session.status)
    job = only_job(studio).job
    assert bpy.ops.dreamcraft3d.cancel(job=job) == {"FINISHED"}
    wait_until(lambda: pump() and state(studio) == "cancelled", 60, lambda: only_job(studio))
    file = str(tmp_path / "ball.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.read_homefile(use_empty=True)
    pump()
    assert part("scene.target").growing_jobs() == set()
    bpy.ops.wm.open_mainfile(filepath=file)
    assert part("scene.target").growing_jobs() == {job}

    def colours() -> Any:
        return bpy.data.objects["Blue Ball"].data.attributes["Color"].data

    colours().foreach_set("color", np.zeros(4 * len(colours()), np.float32))
    wait_until(lambda: pump() and any(colours()[0].color), 60)  # what the backend still has
    assert bpy.ops.dreamcraft3d.resume(job=job) == {"FINISHED"}
    wait_until(lambda: pump() and state(studio) == "running", 60, lambda: only_job(studio))
    bpy.ops.dreamcraft3d.cancel(job=job)
    wait_until(lambda: pump() and state(studio) == "cancelled", 60, lambda: only_job(studio))


def test_words_that_nobody_knows_are_told_and_leave_no_box(studio: Any, pump: Callable[[], bool], part: Part) -> None:
    ask(prompt="a zxqv", preset="draft")
    generate()
    assert len(bpy.data.objects) == 1
    wait_until(lambda: pump() and len(bpy.data.objects) == 0, 60, lambda: studio.session.status)
    said = draw(part("panels.main").DREAMCRAFT3D_PT_main).said
    told = next(number for number, words in enumerate(said) if "zxqv" in words)
    assert told < said.index("Draft")  # beneath the prompt, above all else


def test_the_picture_that_was_looked_at_is_the_one_the_object_is_made_from(
    studio: Any, pump: Callable[[], bool], part: Part
) -> None:
    ask(prompt="a red mushroom", preset="draft", seed=3)
    panel = part("panels.main").DREAMCRAFT3D_PT_main
    assert bpy.ops.dreamcraft3d.preview_picture() == {"FINISHED"}
    assert "The picture is being made." in draw(panel).said
    wait_until(lambda: pump() and studio.draft.png != b"", 240, lambda: studio.session.status)
    looked_at = studio.previews.pictures[studio.draft.job]["reference"].pixels.astype(int)
    said = " ".join(draw(panel).said)
    assert "a red mushroom" in said.replace("What to make: a red mushroom", "")
    assert "Generate uses this picture." in said
    assert "Nothing is being made" in " ".join(draw(part("panels.progress").DREAMCRAFT3D_PT_progress).said)

    ask(prompt="a blue mushroom")
    assert "Generate uses this picture." not in draw(panel).said
    ask(prompt="a red mushroom")
    generate()
    assert studio.draft is None
    job = bpy.context.object["dreamcraft3d_job"]
    wait_until(lambda: pump() and "reference" in studio.previews.pictures.get(job, {}), 240)
    assert np.abs(studio.previews.pictures[job]["reference"].pixels - looked_at).mean() < 2
    wait_until(lambda: pump() and list(studio.jobs.by_id) == [job], 20)  # the other one is forgotten
    bpy.ops.dreamcraft3d.cancel(job=job)
    wait_until(lambda: pump() and state(studio) == "cancelled", 60)


def test_a_picture_that_is_not_there_is_told_and_nothing_is_made(studio: Any) -> None:
    ask(prompt="", source="FILE", picture="/nowhere/egg.png")
    with pytest.raises(RuntimeError, match="There is no picture"):
        bpy.ops.dreamcraft3d.generate()
    assert len(bpy.data.objects) == 0


def test_the_add_on_is_disabled_without_a_trace_and_the_backend_goes_on(
    studio: Any, pump: Callable[[], bool], installed: str, tmp_path: Path
) -> None:
    studio.session.start()
    wait_until(lambda: pump() and studio.session.connected, 60, lambda: studio.session.status)
    module = sys.modules[f"{installed}.pump"]
    handlers = bpy.app.handlers
    bpy.ops.preferences.addon_disable(module=installed)
    try:
        assert not bpy.app.timers.is_registered(module._tick)
        assert not hasattr(bpy.types.Scene, "dreamcraft3d")
        assert not any("DREAMCRAFT3D" in name for name in dir(bpy.types))
        lists = (handlers.load_post, handlers.undo_post, handlers.redo_post)
        assert not any(installed in f.__module__ for one in lists for f in one)
        connection = Connection.read(tmp_path / "data")
        assert connection is not None
        assert alive(connection.pid)
    finally:
        bpy.ops.preferences.addon_enable(module=installed)
