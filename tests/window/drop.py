"""A picture is dragged from a File Browser into the viewport, and into the sidebar; run by ``run.sh`` on request.

Blender offers what it can do with it in a menu at the mouse: an Empty, or an object of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from driving import WORK, Condition, install, run, shoot, sidebar, soon, view

Place = tuple[int, int]
LINE = 21
"""The height of a line of a menu, pixels."""


def form() -> Any:
    return bpy.context.scene.dreamcraft3d


def mouse(place: Place, kind: str = "MOUSEMOVE", value: str = "NOTHING") -> Iterator[Condition]:
    window = bpy.context.window_manager.windows[0]
    window.event_simulate(type=kind, value=value, x=place[0], y=place[1])
    yield soon()


def click(place: Place) -> Iterator[Condition]:
    yield from mouse(place)
    yield from mouse(place, "LEFTMOUSE", "PRESS")
    yield from mouse(place, "LEFTMOUSE", "RELEASE")


def drag(start: Place, end: Place) -> Iterator[Condition]:
    """The left button goes down at one place and up at another."""
    for near in ((start[0], start[1] - 80), (start[0] + 2, start[1]), start):  # what lies there must notice the mouse
        yield from mouse(near)
    yield from mouse(start, "LEFTMOUSE", "PRESS")
    for part in np.linspace(0, 1, 6):
        yield from mouse(tuple(round(a + part * (b - a)) for a, b in zip(start, end, strict=True)))  # type: ignore[arg-type]
    yield from mouse(end, "LEFTMOUSE", "RELEASE")


def picture() -> None:
    """A file, alone in a folder that a File Browser shows in the place of the properties."""
    folder = WORK / "pictures"
    folder.mkdir()
    egg = bpy.data.images.new("egg", 64, 64)
    egg.filepath_raw, egg.file_format = str(folder / "egg.png"), "PNG"
    egg.save()


def browser() -> bpy.types.Area:
    areas = bpy.context.window_manager.windows[0].screen.areas
    return next(area for area in areas if area.type in ("PROPERTIES", "FILE_BROWSER"))


def drop() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    picture()
    browser().ui_type = "FILES"
    yield soon()
    files = browser().spaces.active
    files.params.directory, files.params.display_type = str(WORK / "pictures").encode(), "LIST_VERTICAL"
    files.show_region_toolbar = False
    yield soon()
    yield soon()
    region = next(region for region in browser().regions if region.type == "WINDOW")
    icon = (region.x + 20, region.y + region.height - 34)

    area = view()["region"]
    end = (area.x + area.width // 3, area.y + area.height // 3)
    yield from drag(icon, end)
    yield from shoot("40-dropped")
    yield from click((end[0], end[1] - int(os.environ.get("MENU_LINE", "1")) * LINE))
    yield from shoot("41-dropped-in-the-viewport")
    sys.stdout.write(f"{form().source} {form().picture} {form().place} {tuple(form().dropped)}\n")
    assert (form().source, form().place) == ("FILE", "DROP")
    assert form().picture.endswith("egg.png")
    assert abs(form().dropped[2]) < 1e-4, "it stands on the ground"
    assert list(bpy.data.objects) == []

    form().source, form().picture, form().place = "NONE", "", "CURSOR"
    end = (sidebar().x + sidebar().width // 2, sidebar().y + sidebar().height - 120)
    yield from drag(icon, end)
    yield from click(end)
    yield from shoot("42-dropped-in-the-sidebar")
    assert (form().source, form().place) == ("FILE", "CURSOR")


run(drop())
