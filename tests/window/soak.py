"""Minutes of an artist's unrest while an object grows: undo and redo, modes, renders, windows, copies; run by ``run.sh``.

Nothing may fail, the result arrives, and what is the artist's own stays as it is, byte for byte.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from belongings import fingerprint
from driving import ADDON, Condition, install, name_backend, order, press, run, shoot, soon, state, studio, view


class Errors(logging.Handler):
    """What is logged as an error."""

    said: list[str] = []  # noqa: RUF012 (of this one handler)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


def choose(name: str) -> Any:
    """An object of this name, selected and active."""
    press("object.select_all", action="DESELECT")
    made = bpy.data.objects[name]
    made.select_set(True)
    view()["window"].view_layer.objects.active = made
    return made


def shape(name: str) -> bytes:
    """The mesh's positions."""
    return fingerprint([bpy.data.objects[name].data]).encode()


def undo_and_redo(_: str) -> Iterator[Condition]:
    for deed in ("mesh.primitive_cube_add", "ed.undo", "ed.redo", "ed.undo"):
        press(deed)
        yield soon()


def modes(made: str) -> Iterator[Condition]:
    for mode in ("EDIT", "SCULPT", "TEXTURE_PAINT", "WEIGHT_PAINT"):
        choose(made)
        press("object.mode_set", mode=mode)
        before = shape(made)
        for _ in range(6):
            yield soon()
        assert shape(made) == before, f"it was written in the mode {mode}"
        press("object.mode_set", mode="OBJECT")
        yield soon()


def rendering() -> bool:
    return bpy.app.is_job_running("RENDER")


def render(made: str) -> Iterator[Condition]:
    """As F12 does: a job of Blender's own, in threads, while previews come."""
    with bpy.context.temp_override(**view()):
        bpy.ops.render.render("INVOKE_DEFAULT")
    yield rendering
    before = shape(made)
    looks = 0
    while rendering():
        assert shape(made) == before, "it was written while it was rendered"
        looks += 1
        yield soon()
    sys.stdout.write(f"A render was watched {looks} times.\n")


def windows(_: str) -> Iterator[Condition]:
    """A second window, in which the last act is undone, too."""
    press("wm.window_new")
    yield soon()
    press("mesh.primitive_cone_add")
    press("ed.undo")
    yield soon()
    second = bpy.context.window_manager.windows[-1]
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield soon()


def local_view(made: str) -> Iterator[Condition]:
    choose(made)
    press("view3d.localview", frame_selected=False)
    yield soon()
    press("view3d.localview", frame_selected=False)
    yield soon()


def copy(made: str) -> Iterator[Condition]:
    """A duplicate stays as it is until it is deleted."""
    choose(made)
    press("object.duplicate")
    still = bpy.context.view_layer.objects.active.name
    before = shape(still)
    written = shape(made)
    yield lambda: shape(made) != written or state() != "running"
    if state() == "running":
        assert shape(still) == before or not bpy.data.objects[still].data.get("dreamcraft3d_growing")
    press("object.select_all", action="DESELECT")
    bpy.data.objects[still].select_set(True)
    press("object.delete")
    yield soon()


def soak() -> Iterator[Condition]:
    """Step by step, round after round until the object is done."""
    yield from install()
    logging.getLogger().addHandler(Errors(logging.ERROR))
    bpy.context.preferences.view.render_display_type = "NONE"
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 64
    scene.render.resolution_x, scene.render.resolution_y = 480, 270
    press("mesh.primitive_monkey_add", location=(3, 0, 0))
    own = bpy.context.object
    own.name = own.data.name = "Own"
    press("object.camera_add", location=(0, -6, 1), rotation=(1.5708, 0, 0))
    scene.camera = bpy.context.object
    name_backend()
    yield lambda: studio().session.status.phase in ("off", "ready")
    made = order(os.environ["SESSION_PROMPT"])
    belongings = lambda: fingerprint([bpy.data.meshes["Own"], bpy.data.objects["Own"]])  # noqa: E731
    choose(made)
    before = belongings()
    yield lambda: len(bpy.data.objects[made].data.polygons) > 0
    rounds = 0
    while state() == "running":
        for act in (undo_and_redo, render, modes, windows, local_view, copy):
            yield from act(made)
            assert made in bpy.data.objects, f"{act.__name__} lost it"
            choose(made)
            assert belongings() == before, f"{act.__name__} changed the artist's own"
            assert not Errors.said, Errors.said
        rounds += 1
        yield from shoot(f"14-soak-{rounds}")
    sys.stdout.write(f"{rounds} rounds while it grew.\n")
    yield lambda: state() in ("done", "failed")
    assert state() == "done", state()
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    choose(made)
    assert belongings() == before
    assert not Errors.said, Errors.said
    assert not sys.modules[f"{ADDON}.scene.target"].growing_jobs()
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("15-soak-done")


run(soak())
