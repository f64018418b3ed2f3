"""What the sidebar shows in every state of the backend, drawn on a layout that checks every name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from fake_layout import FakeLayout, draw

from dreamcraft3d_protocol.messages import Fault, JobList, JobState

Part = Callable[[str], ModuleType]
JOB = str(uuid.UUID(int=1))
PHASES = "searching missing installing off starting connecting ready busy refused lost failed".split()
STATES = "queued running cancelling cancelled done failed".split()


def job(state: str, error: Fault | None = None) -> JobState:
    return JobState(JOB, "Mushroom", "a mushroom", "draft", 0, state, "coarse", 1, 4, 3, 9, 1.0, 9.0, "", error, 1.0)  # type: ignore[arg-type]


def panels(part: Part) -> list[type]:
    return [one for one in part("registration").CLASSES if issubclass(one, bpy.types.Panel | bpy.types.Menu)]


def draw_all(part: Part) -> tuple[str, list[str]]:
    layouts: list[FakeLayout] = [draw(panel) for panel in panels(part)]
    return " ".join(t for one in layouts for t in one.said), [b for one in layouts for b in one.buttons]


@pytest.mark.parametrize("phase", PHASES)
def test_every_panel_draws_in_every_state_of_the_backend(
    phase: str, blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = part("core.status")
    mend = "restart_backend" if phase in ("refused", "lost") else ""
    shown = status.Status(phase, "A Title", "A sentence that is long enough to be wrapped to the next line.", mend, 0.5)
    monkeypatch.setattr(part("core.session").Session, "status", shown)
    said, buttons = draw_all(part)
    assert "A Title" in said
    assert "wrapped" in said
    assert "dreamcraft3d.generate" in buttons
    assert ("dreamcraft3d.restart_backend" in buttons) == (mend != "" or phase in ("ready", "busy"))


@pytest.mark.parametrize("state", STATES)
def test_every_panel_draws_a_job_in_every_state(state: str, blender: Any, part: Part) -> None:
    studio = part("pump").studio()
    fault = Fault("worker", "The worker died.", "Try a smaller preset.", "resume") if state == "failed" else None
    studio.jobs.take(JobList((job(state, fault),)))
    said, buttons = draw_all(part)
    assert "Mushroom" in said
    assert ("dreamcraft3d.cancel" in buttons) == (state in ("queued", "running"))
    assert ("dreamcraft3d.resume" in buttons) == (state in ("cancelled", "failed"))
    assert ("smaller preset" in said) == (state == "failed")


def test_without_jobs_the_panels_say_what_to_do_next(blender: Any, part: Part) -> None:
    said, _ = draw_all(part)
    assert "press Generate" in said
    assert "No jobs yet" in said


def test_a_reference_picture_becomes_an_icon_for_as_long_as_it_is_held(blender: Any, part: Part) -> None:
    pictures = part("scene.icons").Pictures()
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[0] = 255
    pictures.update({JOB: picture})
    icon = pictures._icons[JOB]
    assert tuple(icon.image_size) == (32, 24)
    assert icon.image_pixels_float[-4] == 1  # the top row is the last in Blender
    pictures.update({})
    assert pictures.icon(JOB) == 0
    assert JOB not in pictures._icons
    pictures.close()


def test_all_labels_are_title_case_and_no_description_ends_with_a_period(installed: str, part: Part) -> None:
    small = {"in", "the", "a", "of"}
    for one in part("registration").CLASSES:
        label = getattr(one, "bl_label", "")
        assert all(word[0].isupper() or word in small for word in label.split()), label
        assert not (one.__doc__ or "").endswith(".") or not issubclass(one, bpy.types.Operator), one
