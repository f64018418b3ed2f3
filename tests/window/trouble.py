"""The backend's processes are killed while an object grows; then the file is saved, and Blender ends; run by ``run.sh``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import SCENE, Condition, install, name_backend, newest, order, run, shoot, state, studio


def supervisor() -> int:
    """The process that the add-on started."""
    from dreamcraft3d_protocol.connection import Connection

    published = Connection.read(studio().session.settings.data)
    assert published is not None
    return published.pid


def workers() -> list[int]:
    """The processes that compute."""
    parent = supervisor()
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def step() -> int:
    """Of the rough shape, which takes long enough for all that happens here."""
    return newest().step if newest() and newest().stage == "coarse" else 0


def trouble() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    name_backend()
    yield lambda: studio().session.status.phase == "off"
    order(os.environ["SESSION_PROMPT"])
    yield lambda: step() > 2

    os.kill(workers()[0], signal.SIGKILL)
    yield lambda: studio().session.status.title == "Restarting"
    assert "SIGKILL" in studio().session.status.sentence
    yield from shoot("10-worker-killed")
    yield lambda: studio().session.status.phase == "busy" and step() > 2
    assert state() == "running"

    first = supervisor()
    os.kill(first, signal.SIGKILL)
    yield lambda: studio().session.status.phase == "lost"
    yield from shoot("11-backend-killed")
    yield lambda: studio().session.status.phase == "busy" and step() > 2
    assert supervisor() != first
    assert state() == "running"

    bpy.ops.wm.save_as_mainfile(filepath=str(SCENE))
    bpy.ops.wm.save_userpref()


run(trouble())
