"""A finished object: its dialogs and files, pictures dropped, another shape; and a refusal; run by ``run.sh``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from driving import (
    ADDON,
    WORK,
    Condition,
    choose,
    install,
    name_backend,
    newest,
    order,
    press,
    run,
    shoot,
    soon,
    stage,
    state,
    studio,
    unfold,
    view,
)

PICTURES = WORK / "pictures"


def event(kind: str, value: str, x: int, y: int) -> None:
    """A hand's doing, at a point of the window."""
    view()["window"].event_simulate(type=kind, value=value, x=int(x), y=int(y))


def led_on() -> Iterator[Condition]:
    """The newest job, done as soon as may be."""
    job = newest().job
    for number in ("coarse", "geometry", "texture"):
        yield lambda number=number: (stage() == number and newest().step > 2) or state() != "running"
        if state() == "running":
            press("dreamcraft3d.advance", job=job)
    yield lambda: state() in ("done", "failed")
    assert state() == "done", newest()
    yield lambda: not any("dreamcraft3d_growing" in mesh for mesh in bpy.data.meshes)


def dialog(operator: str, name: str) -> Iterator[Condition]:
    """A button that opens a dialog, which is accepted as it is."""
    region = view()["region"]
    x, y = region.x + region.width // 3, region.y + region.height // 2
    event("MOUSEMOVE", "NOTHING", x, y)
    yield soon()
    module, verb = operator.split(".")
    with bpy.context.temp_override(**view()):
        getattr(getattr(bpy.ops, module), verb)("INVOKE_DEFAULT")
    yield from shoot(name)
    for value in ("PRESS", "RELEASE"):
        event("RET", value, x, y)
    yield soon()


def browser(operator: str, name: str) -> Iterator[Condition]:
    """A button that asks for a file, which is accepted as it is."""
    module, verb = operator.split(".")
    with bpy.context.temp_override(**view()):
        getattr(getattr(bpy.ops, module), verb)("INVOKE_DEFAULT")
    yield soon()
    asking = [(w, a) for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "FILE_BROWSER"]
    assert asking, f"{operator} asked for no file"
    yield from shoot(name)
    window, area = asking[0]
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.file.execute()
    yield soon()


def paint() -> Path:
    """A picture file: a red ball on white."""
    up, right = np.mgrid[-1:1:256j, -1:1:256j]
    pixels = np.where((np.hypot(up, right) < 0.8)[..., None], (200, 40, 30, 255), 255).astype(np.uint8)
    PICTURES.mkdir()
    path = PICTURES / "red ball.png"
    path.write_bytes(sys.modules[f"{ADDON}.core.png"].encode_png(pixels))
    return path


def dropped() -> Iterator[Condition]:
    """A picture file dragged from Blender's own file browser, in the place of the properties, into the viewport."""
    area = next(area for area in view()["screen"].areas if area.type == "PROPERTIES")
    area.ui_type = "FILES"
    yield soon()
    files = area.spaces.active
    files.show_region_toolbar = False
    files.params.directory = str(PICTURES).encode()
    files.params.display_type = "LIST_VERTICAL"
    yield soon()
    with bpy.context.temp_override(window=view()["window"], area=area):
        bpy.ops.file.refresh()
    yield soon()
    yield soon()
    yield from shoot("o5-file-browser")
    listed = next(region for region in area.regions if region.type == "WINDOW")
    start = listed.x + 18, listed.y + listed.height - 32
    end = floor()
    for hover in (6, 3, 0):
        event("MOUSEMOVE", "NOTHING", start[0] + hover, start[1])
        yield soon()
    event("LEFTMOUSE", "PRESS", *start)
    yield soon()
    for share in (0.01, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0):
        event("MOUSEMOVE", "NOTHING", *(a + share * (b - a) for a, b in zip(start, end, strict=True)))
        yield soon()
    yield from shoot("o6-dragged")
    event("LEFTMOUSE", "RELEASE", *end)
    yield from chosen("o6-asked")
    area.ui_type = "PROPERTIES"
    yield soon()


def dropped_by_another(picture: Path) -> Iterator[Condition]:
    """The file dragged into the viewport from a file manager, as on a desktop of X11."""
    x, y = floor()
    point = [str(x), str(view()["window"].height - 1 - y)]
    manager = subprocess.Popen(["/usr/bin/python3", str(WORK / "file_manager.py"), str(picture), *point])
    yield lambda: manager.poll() is not None
    assert manager.returncode == 0
    yield from chosen("o6-asked-by-another")


def floor() -> tuple[int, int]:
    """A point of the window where the viewport shows the floor."""
    scene = view()["region"]
    return scene.x + scene.width // 3, scene.y + scene.height // 4


def chosen(name: str) -> Iterator[Condition]:
    """What shall become of the picture that was dropped there is asked, and the add-on's answer is under the mouse."""
    yield from shoot(name)
    for value in ("PRESS", "RELEASE"):
        event("LEFTMOUSE", value, *floor())
        yield soon()


def session() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    name_backend()
    yield lambda: studio().session.status.phase == "off"
    form = bpy.context.scene.dreamcraft3d
    picture = paint()
    for drop, name in ((dropped(), "o7-dropped"), (dropped_by_another(picture), "o7-dropped-by-another")):
        yield from drop
        assert (form.source, form.place, form.picture) == ("FILE", "DROP", str(picture))
        yield from shoot(name)
        form.source, form.place, form.picture = "NONE", "CURSOR", ""

    form.prompt, form.preset = "a mushrom", os.environ["SESSION_PRESET"]
    press("dreamcraft3d.generate")
    yield lambda: studio().trouble is not None
    yield from shoot("o1-refused")

    made = order(os.environ["SESSION_PROMPT"])
    yield lambda: state() == "running"
    yield from led_on()
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("o2-object")
    yield from dialog("dreamcraft3d.set_size", "o3-size")
    yield from dialog("dreamcraft3d.reduce_faces", "o4-faces")
    assert any(modifier.type == "DECIMATE" for modifier in bpy.data.objects[made].modifiers)
    bpy.ops.wm.save_as_mainfile(filepath=str(PICTURES / "scene.blend"))
    yield from browser("dreamcraft3d.save_texture", "o4-save-texture")
    yield from browser("dreamcraft3d.export_glb", "o4-export-glb")
    assert (PICTURES / "Red_Mushroom.png").exists()
    assert (PICTURES / "Red_Mushroom.glb").exists()
    press("dreamcraft3d.mark_asset")
    assert bpy.data.objects[made].asset_data is not None

    choose(made)
    yield from unfold("refine", "DREAMCRAFT3D_PT_refine")
    bpy.context.scene.dreamcraft3d_refine.way = "RESCULPT"
    before = bpy.data.objects[made].data
    yield from shoot("o8-refine")
    press("dreamcraft3d.resculpt", prompt="a brown bear", preset=os.environ["SESSION_PRESET"])
    yield lambda: newest().prompt == "a brown bear" and state() == "running"
    yield lambda: stage() == "geometry" and newest().step > 2
    yield from shoot("o9-sculpted-again")
    yield from led_on()
    assert bpy.data.objects[made].data != before
    assert len(before.polygons) > 0
    yield from shoot("o10-another-shape")
    press("dreamcraft3d.previous_version")
    assert bpy.data.objects[made].data == before
    yield from shoot("o11-previous-version")


run(session())
