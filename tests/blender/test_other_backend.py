"""The preferences name another backend: the scene stays as it is, and what nobody has taken yet is ordered there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
from growing import Part
from launcher import wait_until
from refining import monkey
from stage_backend import Stage, StageBackend


@pytest.fixture
def other(stage: Stage, tmp_path: Path) -> Iterator[StageBackend]:
    """A second backend, on a data folder of its own."""
    backend = StageBackend(tmp_path / "other")
    yield backend
    backend.close()


def look_at(stage: Stage, preferences: Any, backend: StageBackend) -> None:
    """The preferences name this one now."""
    preferences.data, stage.backend = str(backend.data), backend
    stage.settle()


def test_a_box_is_still_there_and_its_job_grows_in_it_when_its_backend_is_back(
    stage: Stage, other: StageBackend, blender: Any
) -> None:
    job, first = stage.generate(), stage.backend
    stage.object(job).location = (1, 2, 3)
    look_at(stage, blender, other)
    assert stage.studio.trouble is not None
    assert tuple(stage.object(job).location) == (1, 2, 3)
    look_at(stage, blender, first)
    stage.backend.done(job)
    stage.settle()
    assert stage.faces(job) == 2
    assert tuple(stage.object(job).location) == (1, 2, 3)


def test_a_version_is_still_there_and_its_job_goes_on_when_its_backend_is_back(
    stage: Stage, other: StageBackend, blender: Any
) -> None:
    monkey()
    assert bpy.ops.dreamcraft3d.resculpt(prompt="a monkey") == {"FINISHED"}
    stage.settle()
    first, (job,) = stage.backend, stage.backend.jobs
    look_at(stage, blender, other)
    assert len(bpy.context.object.dreamcraft3d_versions) == 2
    look_at(stage, blender, first)
    stage.backend.mesh(job)
    stage.settle()
    assert stage.object(job) == bpy.context.object
    assert stage.faces(job) == 4


def test_what_was_ordered_where_nobody_listens_is_made_where_somebody_does(
    stage: Stage, blender: Any, part: Part
) -> None:
    preferences, pump = blender, part("pump")
    preferences.where, preferences.endpoint, preferences.server_key = "REMOTE", "tcp://127.0.0.1:9", "?"
    bpy.context.scene.dreamcraft3d.prompt = "a red mushroom"
    for order in (bpy.ops.dreamcraft3d.generate, bpy.ops.dreamcraft3d.preview_picture):
        assert order() == {"FINISHED"}
    draft, (job,) = stage.studio.draft, stage.studio.jobs.ordered
    wait_until(lambda: pump.pump(0.01) > 0 and stage.studio.session.status.phase == "failed", 20)
    preferences.autostart, preferences.where = True, "LOCAL"
    assert stage.studio.jobs.ordered == {job: "Red Mushroom"}
    stage.settle()
    assert set(stage.backend.jobs) == {draft.job, job}
    assert stage.studio.draft == draft
    stage.backend.done(job)
    stage.settle()
    assert stage.faces(job) == 2


def test_when_it_starts_and_where_from_it_is_installed_is_no_matter_of_the_connection(
    stage: Stage, blender: Any
) -> None:
    studio = stage.studio
    blender.autostart, blender.torch_index = True, "https://packages"
    assert stage.studio is studio
    assert studio.session.settings.torch_index == studio.session.environment.settings.torch_index == "https://packages"
    assert studio.session.connected
