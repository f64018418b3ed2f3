"""Jobs that are paused, moved, hurried on: through real sockets, a real supervisor and a real worker."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from serving import LONG_STEPS, Backend, Letters, children, has_begun, is_state, is_worker, posix, read_until, submit

from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.plan.choose import plan_run
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.history import History
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.offers import MEMORY, SECONDS, Offers
from dreamcraft3d.service.order import Order
from dreamcraft3d.service.turns import move, waiting
from dreamcraft3d_protocol.messages import (
    Advance,
    Cancel,
    Error,
    JobList,
    Jobs,
    JobState,
    Move,
    Pause,
    Presets,
    Result,
    Resume,
    Where,
)

pytestmark = posix


def states(letters: Letters, job: str) -> list[JobState]:
    return [m for m, _ in letters if isinstance(m, JobState) and m.job == job]


def listed(client: Any) -> dict[str, JobState]:
    client.send(Jobs())
    message, _ = read_until(client, lambda m: isinstance(m, JobList))[-1]
    assert isinstance(message, JobList)
    return {job.job: job for job in message.jobs}


def test_a_paused_job_frees_the_worker_stays_paused_over_a_restart_and_goes_on_where_it_was(
    own_backend: Backend,
) -> None:
    client = own_backend.client()
    job = submit(client, preset="long", until="coarse")
    read_until(client, has_begun(job, "coarse", 10))
    client.send(Pause(job))
    letters = read_until(client, is_worker("resting"), seconds=20)
    told = dict.fromkeys(s.state for s in states(letters, job))
    assert [state for state in told if state != "running"] == ["pausing", "paused"]
    stopped = states(letters, job)[-1].step
    assert 10 <= stopped < LONG_STEPS
    assert children(own_backend.process.pid) == []  # and with the process all its memory

    own_backend.kill()
    own_backend.start()
    client = own_backend.client()
    read_until(client, is_worker("resting"), seconds=20)
    assert listed(client)[job].state == "paused"
    assert children(own_backend.process.pid) == []

    client.send(Resume(job))
    letters = read_until(client, lambda m: isinstance(m, Result))
    steps = [s.step for s in states(letters, job) if s.stage == "coarse" and s.state == "running"]
    assert min(steps) >= stopped


def test_a_paused_job_keeps_its_place_and_others_go_on_without_it(own_backend: Backend) -> None:
    client = own_backend.client()
    first = submit(client, preset="long", until="coarse")
    second = submit(client, preset="long", until="coarse")
    third = submit(client, until="reference")
    read_until(client, has_begun(first, "coarse", 5))
    client.send(Pause(first))
    read_until(client, has_begun(second, "coarse", 5))
    client.send(Resume(first))
    read_until(client, is_state(first, "queued"))
    client.send(Cancel(second))
    read_until(client, is_state(second, "cancelled"))
    letters = read_until(client, lambda m: isinstance(m, Result) and m.job == first)
    assert states(letters, third) == []  # it came after


def test_a_pause_that_is_taken_back_at_once_costs_nothing(own_backend: Backend) -> None:
    client = own_backend.client()
    job = submit(client, preset="long", until="coarse")
    read_until(client, has_begun(job, "coarse", 5))
    client.send(Pause(job))
    client.send(Resume(job))
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert "paused" not in {s.state for s in states(letters, job)}


def test_a_paused_job_can_be_cancelled_and_a_waiting_one_paused(own_backend: Backend) -> None:
    client = own_backend.client()
    running, waits = submit(client, preset="long", until="coarse"), submit(client)
    read_until(client, has_begun(running, "coarse", 1))
    client.send(Pause(waits))
    read_until(client, is_state(waits, "paused"))
    client.send(Cancel(waits))
    read_until(client, is_state(waits, "cancelled"))
    client.send(Cancel(running))
    read_until(client, is_state(running, "cancelled"))


def test_a_stage_is_ended_early_and_the_journal_says_so_and_a_late_word_ends_no_other(own_backend: Backend) -> None:
    client = own_backend.client()
    job = submit(client, preset="long")
    read_until(client, has_begun(job, "coarse", 6))
    client.send(Advance(job, "coarse"))
    letters = read_until(client, has_begun(job, "geometry"))
    told = [s for s in states(letters, job) if s.stage == "coarse"]
    assert any("as was asked" in s.sentence for s in told)
    client.send(Advance(job, "coarse"))
    letters += read_until(client, lambda m: isinstance(m, Result))
    assert states(letters, job)[-1].advanced == ("coarse",)
    run = own_backend.data / "jobs" / job / "object"
    took = {stage: numbers["steps"] for stage, numbers in json.loads((run / "progress.json").read_text()).items()}
    assert 6 <= took["coarse"] < LONG_STEPS
    assert (took["geometry"], took["texture"]) == (4, 4 + 2)
    own_backend.kill()
    own_backend.start()
    assert listed(own_backend.client())[job].advanced == ("coarse",)


def test_a_worker_killed_right_after_a_stage_was_to_end_early_ends_it_early_the_next_time(own_backend: Backend) -> None:
    client = own_backend.client()
    job = submit(client, preset="long")
    read_until(client, has_begun(job, "coarse", 6))
    worker = own_backend.worker_pid()
    os.kill(worker, signal.SIGSTOP)  # so that it cannot have done it
    client.send(Advance(job, "coarse"))
    read_until(client, lambda m: isinstance(m, JobState) and m.advanced == ("coarse",))
    os.kill(worker, signal.SIGKILL)
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert states(letters, job)[-1].state == "done"
    progress = json.loads((own_backend.data / "jobs" / job / "object" / "progress.json").read_text())
    assert progress["coarse"]["steps"] < LONG_STEPS


def test_jobs_that_wait_are_moved_and_stay_so_over_a_restart(own_backend: Backend) -> None:
    client = own_backend.client()
    busy = submit(client, preset="long", until="coarse")
    jobs = [submit(client, until="reference", name=name) for name in "abc"]
    read_until(client, has_begun(busy, "coarse", 1))
    client.send(Move(jobs[2], "front"))
    client.send(Move(jobs[0], "down"))

    def order(client: Any) -> str:
        waits = [s for s in listed(client).values() if s.job in jobs]
        return "".join(s.name for s in sorted(waits, key=lambda s: s.position))

    assert order(client) == "cba"
    client.send(Move(busy, "back"))
    error, _ = read_until(client, lambda m: isinstance(m, Error))[-1]
    assert isinstance(error, Error)
    assert "waits" in error.sentence
    own_backend.kill()
    own_backend.start()
    client = own_backend.client()
    assert order(client) == "cba"
    ended: list[str] = []
    while len(ended) < 3:
        message, _ = read_until(client, lambda m: isinstance(m, JobState) and m.state == "done" and m.job in jobs)[-1]
        assert isinstance(message, JobState)
        ended.append(message.name)
    assert ended == ["c", "b", "a"]


def order_of(preset: str = "draft", **changes: Any) -> Order:
    values: dict[str, Any] = {"prompt": "a car", "preset": load_preset(preset), "seed": 0, "first": "coarse"}
    return Order(**(values | {"until": "texture", "picture": None, "mesh": None} | changes))


def waits(name: str, position: int) -> Job:
    return Job(name, name, 0.0, position, order_of())


def test_a_move_changes_the_places_of_two_jobs_at_most() -> None:
    jobs = [waits(name, 3 * i) for i, name in enumerate("abcde")]
    jobs[4].state = "paused"

    def moved(name: str, where: Where) -> tuple[str, str]:
        changed = move(jobs, next(job for job in jobs if job.id == name), where)
        return "".join(sorted(job.id for job in changed)), "".join(job.id for job in waiting(jobs))

    assert moved("c", "up") == ("bc", "acbd")
    assert moved("c", "down") == ("bc", "abcd")
    assert moved("d", "back") == moved("d", "down") == moved("a", "up") == ("", "abcd")
    assert moved("d", "front") == ("d", "dabc")
    assert moved("a", "back") == ("a", "dbca")
    assert len({job.position for job in jobs}) == 5  # the paused one keeps a place of its own


def done(data: DataFolder, name: str, seconds: dict[str, float], total: float, **changes: Any) -> Job:
    """A job with what its run wrote down."""
    run = data.job(name) / "object"
    run.mkdir(parents=True)
    (run / "progress.json").write_text(json.dumps({s: {"seconds": n, "steps": 1} for s, n in seconds.items()}))
    return Job(name, name, 0.0, 0, order_of(**changes), state="done", seconds=total)


TOOK = {"reference": 4.0, "coarse": 10.0, "geometry": 6.0, "texture": 20.0}


def test_what_jobs_took_tells_what_is_left_of_the_next_stage_by_stage(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    history, job = History(data), Job("now", "", 0.0, 0, order_of())
    assert history.left(job) is None
    history.learn(done(data, "a", TOOK, 42.0))
    assert history.left(job) == 42.0
    job.stage, job.step, job.steps = "geometry", 1, 4
    assert history.left(job) == 6 * 0.75 + 20 + 2
    job.eta_seconds = 9.0  # the present pace is better known
    assert history.left(job) == 9 + 20 + 2
    history.learn(done(data, "b", TOOK | {"texture": 30.0}, 52.0))
    history.learn(done(data, "c", TOOK | {"texture": 90.0}, 112.0))
    assert history.usual(job.order)["texture"] == 30.0  # an outlier does not count


def test_a_job_that_was_hurried_or_asked_for_something_else_teaches_nothing(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    history = History(data)
    hurried = done(data, "a", TOOK, 42.0)
    hurried.advanced = ("texture",)
    history.learn(hurried)
    history.learn(done(data, "b", TOOK, 42.0, until="coarse"))
    history.learn(done(data, "c", TOOK, 42.0, preset="embedded"))
    assert history.usual(order_of()) == {}


def test_a_preset_says_what_it_takes_and_what_it_does_otherwise(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    history = History(data)
    told = {info.name: info for info in Offers(data, history).presets()}
    assert (told["draft"].seconds, told["paper"].seconds) == (SECONDS["draft"], None)
    assert told["paper"].memory_bytes == MEMORY["paper"]
    assert told["embedded"].changes == ()
    assert "Steps of the fine shape: 15 instead of 250" in told["draft"].changes
    assert "3D prior: zero123-xl instead of embedded" in told["paper"].changes
    assert told["paper"].changes[-1].startswith("Finer settings: ")
    history.learn(done(data, "a", TOOK, 42.0))
    assert {i.name: i.seconds for i in Offers(data, history).presets()}["draft"] == 42.0


@pytest.mark.parametrize(("preset", "memory"), MEMORY.items())
def test_the_memory_told_is_that_of_the_smallest_card_that_a_plan_finds_room_on(preset: str, memory: int) -> None:
    fit = [size for size in (8, 12, 16, 24) if all(stage.fits for stage in plan_run(load_preset(preset), size))]
    assert min(fit) == memory / (1 << 30)


def test_everybody_is_told_how_long_the_first_job_of_a_preset_took(own_backend: Backend) -> None:
    client = own_backend.client()
    assert client.welcome is not None
    assert {p.name: p.seconds for p in client.welcome.presets}["tiny"] is None
    job = submit(client)
    message, _ = read_until(client, lambda m: isinstance(m, Presets))[-1]
    assert isinstance(message, Presets)
    seconds = {p.name: p.seconds for p in message.presets}["tiny"]
    assert seconds is not None
    assert abs(seconds - listed(client)[job].seconds) < 0.5
    job = submit(client, seed=2)
    letters = read_until(client, lambda m: isinstance(m, Result) and m.job == job)
    left = [s.left_seconds for s in states(letters, job) if s.state == "running" and s.left_seconds is not None]
    assert left[0] > left[-1]
