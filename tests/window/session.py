"""Pressed buttons and screenshots, inside a Blender with a window; run by ``run.sh``.

The script is a generator: it yields conditions, and a timer goes on with it when they hold, so that Blender's own loop,
and the add-on's own timer, run as they do for an artist.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

WORK = Path("/work")
ADDON = "bl_ext.user_default.dreamcraft3d"
PATIENCE_SECONDS = 240.0
FRAMES_BEFORE_SHOT = 4

Condition = Callable[[], bool]


def view() -> dict[str, Any]:
    """The 3D viewport, for ``temp_override``."""
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    region = next(r for r in area.regions if r.type == "WINDOW")
    return {"window": window, "screen": window.screen, "area": area, "region": region, "space_data": area.spaces.active}


def press(operator: str, **properties: Any) -> None:
    """A button, as if clicked in the viewport; ``ed.undo_push`` follows as after a click."""
    module, name = operator.split(".")
    with bpy.context.temp_override(**view()):
        done = getattr(getattr(bpy.ops, module), name)("EXEC_DEFAULT", True, **properties)
    assert done == {"FINISHED"}, (operator, done)


def soon() -> Condition:
    """After some frames have been drawn."""
    left = [FRAMES_BEFORE_SHOT]

    def passed() -> bool:
        left[0] -= 1
        view()["area"].tag_redraw()
        return left[0] <= 0

    return passed


def shoot(name: str) -> Iterator[Condition]:
    """A screenshot of the screen, once it shows what is there now; ``run.sh`` takes it, as software OpenGL cannot."""
    yield soon()
    (WORK / "shots" / f"{name}.wanted").touch()
    yield (WORK / "shots" / f"{name}.png").exists


def studio() -> Any:
    return sys.modules[f"{ADDON}.pump"].studio()


def state() -> str:
    return next((job.state for job in studio().jobs.by_id.values()), "")


def stage() -> str:
    return next((job.stage for job in studio().jobs.by_id.values()), "")


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

    def stop(self) -> str:
        """A sentence with the median, the 95th percentile and the longest, ms."""
        bpy.app.timers.unregister(self)
        median, late, longest = (1000 * q for q in np.percentile(self.waits, [50, 95, 100]))
        return f"A 50 ms timer waited {median:.0f} ms (median), {late:.0f} ms (95 %), {longest:.0f} ms (longest)."


def set_up() -> Iterator[Condition]:
    """The add-on installed, the sidebar open on its tab."""
    bpy.ops.extensions.package_install_files(
        filepath=str(WORK / "addon.zip"), repo="user_default", enable_on_install=True
    )
    yield soon()
    space = view()["space_data"]
    space.show_region_ui = True
    yield soon()
    sidebar = next(r for r in view()["area"].regions if r.type == "UI")
    sidebar.active_panel_category = "DreamCraft3D"
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    yield soon()


def session() -> Iterator[Condition]:
    """What an artist does."""
    yield from set_up()
    yield lambda: studio().session.status.phase == "missing"
    yield from shoot("1-not-installed")
    bpy.context.preferences.addons[ADDON].preferences.data = str(WORK / "data")
    yield lambda: studio().session.status.title == "Ready" and studio().session.worker is not None
    form = bpy.context.scene.dreamcraft3d
    form.prompt, form.preset, form.seed = os.environ["SESSION_PROMPT"], os.environ["SESSION_PRESET"], 1
    yield from shoot("2-ready")
    press("dreamcraft3d.generate")
    press("view3d.view_selected")
    yield from shoot("3-ordered")
    yield lambda: stage() == "coarse"
    yield from shoot("4-rough-shape")
    made = bpy.context.object.name
    yield lambda: len(bpy.data.objects[made].data.polygons) > 0
    # What Show Colors switches to compiles shaders for minutes without a graphics card; these show the same colors.
    view()["space_data"].shading.color_type = "VERTEX"
    yield from shoot("5-growing")
    press("mesh.primitive_cube_add", location=(3, 0, 0))
    press("ed.undo")
    assert made in bpy.data.objects
    yield lambda: stage() == "geometry" or state() != "running"
    press("dreamcraft3d.cancel", job=next(iter(studio().jobs.by_id)))
    yield lambda: state() == "cancelled"
    yield from shoot("6-cancelled")
    press("dreamcraft3d.resume", job=next(iter(studio().jobs.by_id)))
    metronome = Metronome()
    yield lambda: stage() == "texture" or state() in ("done", "failed")
    sys.stdout.write(f"{metronome.stop()}\n")
    yield from shoot("7-painting")
    yield lambda: state() in ("done", "failed")
    assert state() == "done", studio().jobs.by_id
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("8-done")
    press("ed.undo")
    press("ed.redo")
    yield soon()
    assert bpy.data.objects[made].data.uv_layers, "undo and redo lost the result"
    form = bpy.context.scene.dreamcraft3d
    form.prompt = "a zxqv of purple glorp"
    press("dreamcraft3d.generate")
    yield lambda: studio().trouble is not None
    yield from shoot("9-refused")
    sidebar = next(r for r in view()["area"].regions if r.type == "UI")
    assert sidebar.active_panel_category == "DreamCraft3D"


def run() -> None:
    """Go on with the session whenever its condition holds; leave Blender at the end."""
    steps = session()
    waiting: list[tuple[Condition, float]] = []

    def go_on() -> float | None:
        try:
            if waiting:
                condition, deadline = waiting[0]
                if not condition():
                    assert time.monotonic() < deadline, f"waited too long; the backend: {studio().session.status}"
                    return 0.1
                waiting.clear()
            waiting.append((next(steps), time.monotonic() + PATIENCE_SECONDS))
            return 0.05
        except StopIteration:
            sys.stdout.write("The session went as it should.\n")
            leave(0)
        except BaseException:
            traceback.print_exc()
            leave(1)
        return None

    bpy.app.timers.register(go_on, first_interval=1.0, persistent=True)


def leave(status: int) -> None:
    """End Blender at once; nothing is to be saved."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


bpy.context.preferences.view.show_splash = False
run()
