"""The buttons for all jobs at once, pressed before the backend has answered the ones before."""

from __future__ import annotations

import bpy
import pytest
from stage_backend import Stage


@pytest.fixture
def rests(stage: Stage) -> tuple[str, str]:
    """Two jobs that are paused."""
    jobs = stage.generate(), stage.generate()
    for job in jobs:
        stage.backend.become(job, "paused")
    stage.settle()
    return jobs


def states(stage: Stage, *jobs: str) -> list[str]:
    """What the backend's jobs are once it has heard everything."""
    stage.settle()
    return [stage.backend.jobs[job].told.state for job in jobs]


def test_resume_all_leaves_alone_what_has_just_been_cancelled(stage: Stage, rests: tuple[str, str]) -> None:
    assert bpy.ops.dreamcraft3d.cancel(job=rests[0]) == {"FINISHED"}
    assert bpy.ops.dreamcraft3d.resume_all() == {"FINISHED"}
    assert states(stage, *rests) == ["cancelled", "running"]


def test_resume_all_leaves_alone_what_has_just_been_deleted(stage: Stage, rests: tuple[str, str]) -> None:
    assert bpy.ops.dreamcraft3d.forget(job=rests[0]) == {"FINISHED"}
    assert bpy.ops.dreamcraft3d.resume_all() == {"FINISHED"}
    assert states(stage, rests[1]) == ["running"]
    assert stage.studio.trouble is None


def test_a_cancelled_job_that_is_resumed_by_its_own_button_is_one_of_all_again(
    stage: Stage, rests: tuple[str, str]
) -> None:
    bpy.ops.dreamcraft3d.cancel(job=rests[0])
    bpy.ops.dreamcraft3d.resume(job=rests[0])
    assert states(stage, rests[0]) == ["running"]
    stage.backend.become(rests[0], "paused")
    stage.settle()
    bpy.ops.dreamcraft3d.resume_all()
    assert states(stage, *rests) == ["running", "running"]
