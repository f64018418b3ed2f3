"""Minutes of an artist's unrest while an object grows: undo and redo, modes, renders, windows, copies; run by ``run.sh``.

Nothing may fail, the result arrives, and what is the artist's own stays as it is, byte for byte. No backend computes: a
timer of this script's own hands over a new shape ten times a second, as if it had just been received.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from belongings import fingerprint
from driving import ADDON, SECONDS, Condition, choose, install, press, run, shoot, soon, state, studio, view

JOB = str(uuid.UUID(int=1))
ROUNDS = 3


class Stream:
    """What a job sends: surfaces, now and then with other faces, positions, colours and pictures; in the end a result."""

    def __init__(self) -> None:
        self.number, self.finished = 0, False
        self.tell("running")
        bpy.app.timers.register(self, persistent=True)

    def tell(self, state: str) -> None:
        from dreamcraft3d_protocol.messages import JobState

        told = JobState(JOB, "Mushroom", "a mushroom", "draft", 0, state, "coarse", 1, 4, 3, 9, 1.0, 9.0, "", None, 1.0)
        studio().jobs.by_id[JOB] = told

    def __call__(self) -> float:
        from dreamcraft3d_protocol.messages import Preview, Result

        self.number += 1
        side = 40 + self.number // 10 % 5
        u, v = np.meshgrid(*[np.linspace(0, 1, side, dtype=np.float32)] * 2)
        height = 0.3 * np.sin(9 * u + self.number / 5) * np.cos(9 * v)
        points = np.stack([u, v, height + 0.3], axis=-1).reshape(-1, 3)
        at = np.arange(side * (side - 1)).reshape(side - 1, side)[:, :-1].ravel()
        faces = (
            np.stack([at, at + 1, at + side, at + 1, at + side + 1, at + side], axis=1).reshape(-1, 3).astype(np.int32)
        )
        uv = np.ascontiguousarray(points[faces.ravel(), :2])
        colours = np.ascontiguousarray(np.abs(points[:, [2, 0, 1]]).clip(0, 1))
        form = ("mesh", "positions", "colours", "texture")[
            self.number % 10 if self.number % 10 < 3 else 1 + self.number % 3
        ]
        sent = {
            "mesh": {"vertices": points, "faces": faces, "colours": colours},
            "positions": {"vertices": points},
            "colours": {"colours": colours},
            "texture": {"uv": uv, "texture": np.full((64, 64, 3), self.number % 256, np.uint8)},
        }[form]
        previews = studio().previews
        if self.finished:
            if JOB in sys.modules[f"{ADDON}.scene.target"].growing_jobs():
                arrays = {"vertices": points, "faces": faces, "uv": uv, "texture": self.png}
                previews.finish(Result(JOB, {}), arrays)
        else:
            base = None if form == "mesh" else str(side)
            previews.take(Preview(JOB, self.number, "coarse", form, str(side), base), sent)
        return 0.1

    def finish(self) -> None:
        encode_png = sys.modules[f"{ADDON}.core.png"].encode_png
        self.png = np.frombuffer(encode_png(np.full((64, 64, 4), (200, 60, 40, 255), np.uint8)), np.uint8)
        self.finished = True
        self.tell("done")


class Errors(logging.Handler):
    """What is logged as an error."""

    said: list[str] = []  # noqa: RUF012 (of this one handler)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


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
    choose(still)
    press("object.delete")
    yield soon()


def soak() -> Iterator[Condition]:
    """Step by step, round after round until the object is done."""
    yield from install()
    logging.getLogger().addHandler(Errors(logging.ERROR))
    bpy.context.preferences.view.render_display_type = "NONE"
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 64, False
    scene.render.resolution_x, scene.render.resolution_y = 480, 270
    press("mesh.primitive_monkey_add", location=(3, 0, 0))
    own = bpy.context.object
    own.name = own.data.name = "Own"
    press("object.camera_add", location=(0, -6, 1), rotation=(1.5708, 0, 0))
    scene.camera = bpy.context.object
    stream = Stream()
    press("dreamcraft3d.attach", job=JOB)
    made = bpy.context.object.name
    view()["space_data"].shading.color_type = "VERTEX"

    def belongings() -> str:
        return fingerprint([bpy.data.meshes["Own"], bpy.data.objects["Own"]])

    choose(made)
    before = belongings()
    yield lambda: len(bpy.data.objects[made].data.polygons) > 0
    started = time.monotonic()
    for number in range(ROUNDS):
        for act in (undo_and_redo, render, modes, windows, local_view, copy):
            sys.stdout.write(f"{time.monotonic() - started:.0f} s: {act.__name__}\n")
            sys.stdout.flush()
            yield from act(made)
            assert made in bpy.data.objects, f"{act.__name__} lost it"
            choose(made)
            assert belongings() == before, f"{act.__name__} changed the artist's own"
            assert not Errors.said, Errors.said
        yield from shoot(f"14-soak-{number + 1}")
        if time.monotonic() - started > SECONDS / 2:
            break
    stream.finish()
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    press("ed.undo")
    press("ed.redo")
    yield lambda: not sys.modules[f"{ADDON}.scene.target"].growing_jobs()
    choose(made)
    assert belongings() == before
    assert not Errors.said, Errors.said
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("15-soak-done")


run(soak())
