"""What a script needs to press buttons in a Blender with a window; imported by the scripts that ``run.sh`` starts.

Such a script is a generator: it yields conditions, and a timer goes on with it when they hold, so that Blender's own loop,
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

WORK = Path(__file__).parent
SCENE = WORK / "growing.blend"
ADDON = "bl_ext.user_default.dreamcraft3d"
SECONDS = float(os.environ["SESSION_SECONDS"])
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


def choose(name: str) -> None:
    """An object of this name, selected and active."""
    layer = view()["window"].view_layer
    for one in layer.objects:
        one.select_set(one.name == name)
    layer.objects.active = bpy.data.objects[name]


def soon() -> Condition:
    """After some frames have been drawn."""
    left = [FRAMES_BEFORE_SHOT]

    def passed() -> bool:
        left[0] -= 1
        for area in view()["screen"].areas:
            area.tag_redraw()
        return left[0] <= 0

    return passed


def shoot(name: str) -> Iterator[Condition]:
    """A screenshot of the screen, once it shows what is there now; ``run.sh`` takes it, as software OpenGL cannot."""
    yield soon()
    (WORK / "shots" / f"{name}.wanted").touch()
    yield (WORK / "shots" / f"{name}.png").exists


def studio() -> Any:
    return sys.modules[f"{ADDON}.pump"].studio()


def newest() -> Any:
    """The newest job as the backend told it; None if there is none."""
    return next(iter(studio().jobs.newest_first()), None)


def state() -> str:
    return newest().state if newest() else ""


def stage() -> str:
    return newest().stage if newest() else ""


def install() -> Iterator[Condition]:
    """The add-on installed, the sidebar open on its tab, an empty scene, in the language that was asked for."""
    bpy.context.preferences.view.language = os.environ["SESSION_LANGUAGE"]
    bpy.ops.extensions.package_install_files(
        filepath=str(WORK / "addon.zip"), repo="user_default", enable_on_install=True
    )
    yield from open_sidebar()
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    yield soon()


def open_sidebar() -> Iterator[Condition]:
    """The add-on's tab in sight."""
    yield soon()
    view()["space_data"].show_region_ui = True
    yield soon()
    sidebar().active_panel_category = "DreamCraft3D"
    yield soon()


def sidebar() -> bpy.types.Region:
    """The 3D viewport's."""
    return next(r for r in view()["area"].regions if r.type == "UI")


def unfold(module: str, name: str) -> Iterator[Condition]:
    """A panel of the add-on that is closed at first: open, and in sight."""
    panel = getattr(sys.modules[f"{ADDON}.panels.{module}"], name)
    bpy.utils.unregister_class(panel)
    panel.bl_idname, panel.bl_options = f"{panel.bl_idname}_open", set()
    bpy.utils.register_class(panel)
    yield soon()
    with bpy.context.temp_override(**(view() | {"region": sidebar()})):
        bpy.ops.view2d.scroll_down(page=True)


def preferences() -> Any:
    """The add-on's."""
    return bpy.context.preferences.addons[ADDON].preferences


def name_backend() -> None:
    """Name the Python that has the backend, as an artist may in the preferences."""
    preferences().python = os.environ["BACKEND_PYTHON"]


def order(prompt: str) -> str:
    """Fill the form, press Generate; the name of the object that grows."""
    form = bpy.context.scene.dreamcraft3d
    form.prompt, form.preset, form.seed = prompt, os.environ["SESSION_PRESET"], 1
    press("dreamcraft3d.generate")
    press("view3d.view_selected")
    press("view3d.zoom", delta=-1)  # else the box is hidden by the sidebar
    # What Show Colors switches to compiles shaders for minutes without a graphics card; these show the same colors.
    view()["space_data"].shading.color_type = "VERTEX"
    return bpy.context.object.name


def run(steps: Iterator[Condition]) -> None:
    """Go on with a script whenever its condition holds; leave Blender at the end."""
    bpy.context.preferences.view.show_splash = False
    waiting: list[Condition] = []
    deadline = time.monotonic() + SECONDS

    def go_on() -> float | None:
        try:
            if waiting:
                if not waiting[0]():
                    assert time.monotonic() < deadline, f"waited too long; the backend: {studio().session.status}"
                    return 0.1
                waiting.clear()
            waiting.append(next(steps))
            return 0.05
        except StopIteration:
            sys.stdout.write("All went as it should.\n")
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
