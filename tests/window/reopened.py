"""A file that was saved while an object grew in it is opened again; run by ``run.sh`` after ``trouble.py``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import Condition, open_sidebar, run, shoot, state, view


def reopened() -> Iterator[Condition]:
    """Step by step."""
    made = next(o for o in bpy.data.objects if o.get("dreamcraft3d_job")).name
    assert not bpy.data.objects[made].data.uv_layers, "it was finished when it was saved"
    yield from open_sidebar()
    yield lambda: state() == "running"
    yield from shoot("12-reopened")
    yield lambda: state() in ("done", "failed")
    assert state() == "done"
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("13-done-after-all")


run(reopened())
