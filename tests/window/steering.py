"""Jobs that are steered: three in a queue, one led on, kept, paused, gone on with; run by ``run.sh``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import Condition, install, name_backend, order, press, run, shoot, soon, studio, unfold


def job(name: str) -> str:
    """The id of the job that grows in an object."""
    return bpy.data.objects[name]["dreamcraft3d_job"]


def told(name: str) -> str:
    return studio().jobs.state(job(name))


def session() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    name_backend()
    yield lambda: studio().session.status.phase == "off"
    first = order(os.environ["SESSION_PROMPT"])
    yield lambda: len(bpy.data.objects[first].data.polygons) > 0
    second, third = order("a blue chair"), order("a brown bear")
    bpy.context.view_layer.objects.active = bpy.data.objects[first]
    yield lambda: told(third) == "queued"
    yield from shoot("s1-running")
    press("dreamcraft3d.move", job=job(third), where="front")
    yield lambda: studio().jobs.by_id[job(third)].position < studio().jobs.by_id[job(second)].position
    yield from unfold("jobs", "DREAMCRAFT3D_PT_jobs")
    yield from shoot("s2-queue-of-three")
    press("dreamcraft3d.keep", job=job(first))
    press("dreamcraft3d.advance", job=job(first))
    yield lambda: studio().jobs.by_id[job(first)].stage == "geometry"
    yield from shoot("s3-kept-and-led-on")
    press("dreamcraft3d.pause_all")
    yield lambda: studio().session.worker.state == "resting"
    yield soon()
    yield from shoot("s4-all-paused")
    press("dreamcraft3d.cancel", job=job(second))
    press("dreamcraft3d.cancel", job=job(third))
    yield lambda: told(second) == told(third) == "cancelled"
    press("dreamcraft3d.resume_all")
    yield lambda: told(first) == "running"
    press("dreamcraft3d.advance", job=job(first))
    yield lambda: studio().jobs.by_id[job(first)].stage == "texture"
    yield from shoot("s5-going-on")
    press("dreamcraft3d.advance", job=job(first))
    yield lambda: told(first) == "done"
    assert told(second) == told(third) == "cancelled"
    yield soon()
    yield from shoot("s6-done")


run(session())
