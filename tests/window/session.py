"""What an artist does, from an add-on without a backend to a finished object; run by ``run.sh``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from driving import (
    Condition,
    install,
    name_backend,
    newest,
    order,
    press,
    run,
    shoot,
    sidebar,
    soon,
    stage,
    state,
    studio,
    view,
)


class Metronome:
    """A timer that wants to be called every 50 ms, and how long it really waited: what an artist's hand would feel."""

    SECONDS = 0.05

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.before = time.monotonic()
        bpy.app.timers.register(self, first_interval=self.SECONDS)

    def __call__(self) -> float:
        now = time.monotonic()
        self.waits.append(now - self.before)
        self.before = now
        return self.SECONDS

    def stop(self) -> tuple[float, float, float]:
        """The median, the 95th percentile and the longest, seconds."""
        bpy.app.timers.unregister(self)
        median, late, longest = np.percentile(self.waits, [50, 95, 100])
        return median, late, longest


def timed(what: str, until: Condition) -> Iterator[Condition]:
    """Wait, and say how long a timer waited meanwhile; an artist can live with 150 ms at the 95th percentile."""
    metronome = Metronome()
    yield until
    median, late, longest = (f"{1000 * wait:.0f} ms" for wait in metronome.stop())
    sys.stdout.write(f"{what}, a 50 ms timer waited {median} (median), {late} (95 %), {longest} (longest).\n")


def after(seconds: float) -> Condition:
    """Some time from now on."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def session() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    yield lambda: studio().session.status.phase == "missing"
    yield from shoot("1-not-installed")
    name_backend()
    yield lambda: studio().session.status.phase == "off"
    yield from shoot("2-ready")
    yield from timed("While nothing happened", after(5))
    made = order(os.environ["SESSION_PROMPT"])
    yield from shoot("3-ordered")
    yield from timed("Before there was a shape", lambda: stage() == "coarse")
    yield from shoot("4-rough-shape")
    yield lambda: len(bpy.data.objects[made].data.polygons) > 0
    yield from shoot("5-growing")
    press("mesh.primitive_cube_add", location=(3, 0, 0))
    press("ed.undo")
    assert made in bpy.data.objects
    yield from timed("While previews came", lambda: stage() == "geometry" or state() != "running")
    press("dreamcraft3d.cancel", job=newest().job)
    yield lambda: state() == "cancelled"
    yield from shoot("6-cancelled")
    press("dreamcraft3d.resume", job=newest().job)
    yield lambda: stage() == "texture" or state() in ("done", "failed")
    yield from shoot("7-painting")
    yield lambda: state() in ("done", "failed")
    assert state() == "done", newest()
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("8-done")
    press("ed.undo")
    press("ed.redo")
    yield soon()
    assert bpy.data.objects[made].data.uv_layers, "undo and redo lost the result"
    bpy.context.scene.dreamcraft3d.prompt = "a zxqv of purple glorp"
    press("dreamcraft3d.generate")
    yield lambda: studio().trouble is not None
    yield from shoot("9-refused")
    assert sidebar().active_panel_category == "DreamCraft3D"


run(session())
