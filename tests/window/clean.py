"""From a Blender whose Python has nothing to an object: Install, Start, Generate; run by ``run.sh`` on request."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import ADDON, Condition, install, newest, order, press, run, shoot, state, studio, view


def phase() -> str:
    return studio().session.status.phase


def clean() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    yield lambda: phase() == "missing"
    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.addons[ADDON].preferences.torch_index = os.environ["TORCH_INDEX"]
    press("dreamcraft3d.install_backend")
    yield lambda: studio().session.status.title == "Downloading PyTorch" and studio().session.status.sentence != ""
    yield from shoot("14-installing")
    yield lambda: phase() not in ("installing", "searching")
    assert phase() == "off", studio().session.status
    yield from shoot("15-installed")
    press("dreamcraft3d.start_backend")
    yield lambda: studio().session.status.title == "Ready"
    made = order(os.environ["SESSION_PROMPT"])
    yield lambda: state() in ("done", "failed")
    assert state() == "done", newest()
    yield lambda: bool(bpy.data.objects[made].data.uv_layers)
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("16-made")


run(clean())
