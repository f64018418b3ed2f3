"""Jobs as the panels show them."""

from __future__ import annotations

import uuid

import pytest
from blender_addon.core.jobs import Jobs, duration, progress_of
from blender_addon.core.presets import preset, presets
from scripted_backend import job_state

from dreamcraft3d_protocol.messages import Error, Fault, JobList, PresetInfo, Welcome

JOB, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def test_progress_has_three_levels_and_the_time_left() -> None:
    progress = progress_of(job_state(JOB))
    assert progress.job.factor == pytest.approx(1.5 / 4)
    assert progress.stage.factor == pytest.approx(0.5)
    assert progress.stage.text == "Rough Shape (2 of 4)"
    assert progress.step == "Step 5 of 10"
    assert progress.eta == "42 s left in this stage"
    assert progress_of(job_state(JOB, left_seconds=190.0)).eta == "42 s left in this stage, 3 min until it is done"


def test_progress_is_full_only_when_the_job_is_done() -> None:
    export = {"stage": "export", "stage_index": 3, "step": 1, "steps": 1}
    assert progress_of(job_state(JOB, **export)).job.factor == pytest.approx(0.99)
    assert progress_of(job_state(JOB, **export)).stage.text == "Finishing (4 of 4)"
    assert progress_of(job_state(JOB, "done", **export)).job.factor == 1


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2, "a few seconds"), (41.6, "42 s"), (61, "1 min"), (4000, "1 h 7 min"), (3599, "1 h 0 min")],
)
def test_a_duration_reads_as_one_says_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_is_refused_is_a_fault_of_its_job_until_the_job_is_told_of_again() -> None:
    jobs = Jobs()
    jobs.take(job_state(JOB))
    jobs.take(Error("user", "No such word.", "Try another.", "edit", JOB))
    assert jobs.fault(JOB) == Fault("user", "No such word.", "Try another.", "edit")
    jobs.take(job_state(JOB))
    assert jobs.fault(JOB) is None


def test_a_list_takes_the_place_of_what_was_known() -> None:
    jobs = Jobs()
    jobs.take(job_state(JOB))
    jobs.take(JobList((job_state(OTHER, created=2.0),)))
    assert list(jobs.by_id) == [OTHER]


def test_the_job_in_focus_is_the_chosen_one_or_what_runs_or_the_newest() -> None:
    jobs = Jobs()
    assert jobs.in_focus("") == ""
    jobs.take(job_state(JOB, "running", created=1.0))
    jobs.take(job_state(OTHER, "done", created=2.0))
    assert jobs.in_focus(OTHER) == OTHER
    assert jobs.in_focus("another file's") == JOB
    jobs.take(job_state(JOB, "done", created=1.0))
    assert jobs.in_focus("") == OTHER


def test_a_job_may_only_be_asked_for_what_its_state_allows() -> None:
    jobs = Jobs()
    jobs.take(job_state(JOB, "running"))
    assert (jobs.may_cancel(JOB), jobs.may_resume(JOB), jobs.may_forget(JOB)) == (True, False, False)
    jobs.take(job_state(JOB, "cancelled"))
    assert (jobs.may_cancel(JOB), jobs.may_resume(JOB), jobs.may_forget(JOB)) == (False, True, True)
    assert not jobs.may_cancel(OTHER)
    jobs.take(job_state(JOB, "paused"))
    assert (jobs.may_pause(JOB), jobs.may_cancel(JOB), jobs.may_resume(JOB)) == (False, True, True)
    jobs.take(job_state(JOB, "pausing"))
    assert (jobs.may_pause(JOB), jobs.may_cancel(JOB), jobs.may_resume(JOB)) == (False, True, False)


def test_a_stage_with_steps_can_be_ended_early_once() -> None:
    jobs = Jobs()
    for stage, may in {"reference": False, "coarse": True, "geometry": True, "texture": True, "export": False}.items():
        jobs.take(job_state(JOB, stage=stage))
        assert jobs.may_advance(JOB) == may
    jobs.take(job_state(JOB, advanced=("coarse",)))
    assert not jobs.may_advance(JOB)
    jobs.take(job_state(JOB, "paused"))
    assert not jobs.may_advance(JOB)


def test_jobs_are_listed_as_they_come_to_their_turn() -> None:
    jobs = Jobs()
    ids = [str(uuid.UUID(int=i)) for i in range(6)]
    told = {"done": (0, 0), "queued": (9, 1), "running": (2, 2), "paused": (4, 3), "failed": (1, 4)}
    for job, (state, (position, created)) in zip(ids, told.items(), strict=False):
        jobs.take(job_state(job, state, position=position, created=float(created)))
    assert [job.state for job in jobs.in_turn()] == ["running", "paused", "queued", "failed", "done"]
    assert not jobs.may_move(ids[1])
    jobs.take(job_state(ids[5], "queued", position=5))
    assert jobs.may_move(ids[1])
    assert jobs.that(jobs.may_pause) == [ids[2], ids[5], ids[1]]


def test_what_is_to_end_is_none_of_all_until_the_backend_has_answered() -> None:
    jobs = Jobs()
    jobs.take(job_state(JOB, "paused"))
    jobs.ending.add(JOB)
    jobs.take(job_state(JOB, "paused", position=2))  # said before it heard of it
    assert jobs.paused == []
    jobs.take(Error("user", "Not now.", "", "", JOB))
    assert jobs.paused == [JOB]
    jobs.ending.add(JOB)
    jobs.take(job_state(JOB, "cancelled"))
    jobs.take(job_state(JOB, "paused"))
    assert jobs.paused == [JOB]


def test_a_preset_says_what_it_takes_as_one_says_it() -> None:
    told = (PresetInfo("draft", "", 42.0, 1610612736, ("Faces: 2 instead of 1",)), PresetInfo("a", "", None, 24 << 30))
    found = {p.name: p for p in presets(Welcome(1, 0, "", JOB, told))}
    assert found["draft"].estimate == "About 42 s, 1.5 GB of memory"
    assert found["a"].estimate == "24 GB of memory"
    assert found["draft"].changes == ("Faces: 2 instead of 1",)
    assert presets(None)[0].estimate == ""


def test_presets_are_there_before_the_backend_and_its_own_come_after() -> None:
    assert [p.name for p in presets(None)] == ["embedded", "draft"]
    told = Welcome(1, 0, "", JOB, (PresetInfo("studio-fine", "Slow and fine"), PresetInfo("draft", "Rough")))
    assert [p.label for p in presets(told)] == ["Draft", "Studio Fine"]
    assert "choose another" in preset("embedded", told).about
