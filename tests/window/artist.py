"""An artist's afternoon, first half: from the zip to an object that grows, paused and gone on with; run by ``run.sh``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import (
    SCENE,
    Condition,
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
)


def session() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    yield from shoot("a01-installed")
    name_backend()
    yield lambda: studio().session.status.phase == "off"
    press("dreamcraft3d.start_backend")
    yield lambda: studio().session.status.title == "Ready"
    yield from shoot("a02-backend-started")
    made = order(os.environ["SESSION_PROMPT"])
    yield from shoot("a03-ordered")
    yield lambda: len(bpy.data.objects[made].data.polygons) > 0
    yield from shoot("a04-watched")
    press("dreamcraft3d.pause", job=newest().job)
    yield lambda: state() == "paused"
    yield from shoot("a05-paused")
    press("dreamcraft3d.resume", job=newest().job)
    yield lambda: state() == "running"
    for x in (3, 5):
        press("mesh.primitive_cube_add", location=(x, 0, 0))
    press("ed.undo")
    press("ed.undo")
    yield soon()
    assert [o.name for o in bpy.data.objects if o.type == "MESH"] == [made]
    yield lambda: stage() == "geometry"
    yield from shoot("a06-undone-twice-and-growing")
    bpy.ops.wm.save_as_mainfile(filepath=str(SCENE))
    bpy.ops.wm.save_userpref()
    yield from shoot("a07-saved")
    assert state() == "running"


run(session())
