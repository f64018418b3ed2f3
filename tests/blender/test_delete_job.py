"""A job that is no more leaves an object that is the artist's, or none, and never one that nothing can be done with."""

from __future__ import annotations

import bpy
import pytest
from stage_backend import Stage

from dreamcraft3d_protocol.messages import JobList


@pytest.fixture
def stopped(stage: Stage) -> str:
    """A job that was cancelled after its first shape; its object is active."""
    job = stage.generate()
    stage.backend.become(job, "running")
    stage.backend.mesh(job)
    stage.settle()
    assert bpy.ops.dreamcraft3d.cancel(job=job) == {"FINISHED"}
    stage.settle()
    return job


def test_the_object_of_a_deleted_job_is_the_artists_as_it_is(stage: Stage, stopped: str) -> None:
    made = bpy.context.object
    faces = len(made.data.polygons)
    assert bpy.ops.dreamcraft3d.forget(job=stopped) == {"FINISHED"}
    stage.settle()
    assert stopped not in stage.backend.jobs
    assert len(made.data.polygons) == faces > 0
    assert not stage.part("scene.target").growing(made)
    assert stage.part("operators.refine").unfit(made) == ""


def test_an_object_whose_job_was_deleted_by_another_may_be_refined(stage: Stage, stopped: str) -> None:
    del stage.backend.jobs[stopped]
    stage.backend.say(JobList(()))
    stage.settle()
    assert stage.part("operators.refine").unfit(bpy.context.object) == ""
    assert bpy.ops.dreamcraft3d.retexture(prompt="a blue mushroom") == {"FINISHED"}


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_the_box_of_a_deleted_job_goes_with_it_when_the_mode_allows_it(stage: Stage, mode: str) -> None:
    job = stage.generate()
    bpy.ops.object.mode_set(mode=mode)
    assert bpy.ops.dreamcraft3d.forget(job=job) == {"FINISHED"}
    stage.settle()
    assert (stage.object(job) is None) == (mode == "OBJECT")
    if mode == "EDIT":
        bpy.ops.object.mode_set(mode="OBJECT")
        stage.settle()
        assert stage.object(job) is None


def test_a_job_that_began_while_blender_asked_is_not_deleted(stage: Stage) -> None:
    job = stage.generate()
    stage.backend.become(job, "running")
    stage.settle()
    assert bpy.ops.dreamcraft3d.forget(job=job) == {"CANCELLED"}
    stage.settle()
    assert stage.part("scene.target").growing(stage.object(job))
    assert stage.part("operators.refine").unfit(stage.object(job)) != ""
