"""What an artist does before objects grow: pictures of the viewport and of words, variations; run by ``run.sh``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import (
    Condition,
    install,
    name_backend,
    press,
    run,
    shoot,
    soon,
    studio,
)


def form() -> Any:
    return bpy.context.scene.dreamcraft3d


def drawn() -> bool:
    return studio().draft is not None and studio().draft.png != b""


def generate() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    name_backend()
    form().preset = os.environ["SESSION_PRESET"]
    yield lambda: studio().session.status.phase in ("off", "ready")
    yield from shoot("30-form")

    press("mesh.primitive_monkey_add")
    form().source = "VIEWPORT"
    press("dreamcraft3d.preview_picture")
    yield drawn
    yield from shoot("31-viewport-captured")
    press("dreamcraft3d.discard_picture")
    press("object.delete")

    form().source, form().prompt, form().seed = "NONE", "a red mushroom", 1
    press("dreamcraft3d.preview_picture")
    yield drawn
    yield from shoot("32-picture-of-words")
    form().variations = 3
    press("dreamcraft3d.generate")
    press("view3d.view_all")
    yield soon()
    yield from shoot("33-variations-ordered")


run(generate())
