"""The table of what becomes of a job's state. Seen to fail when a done job can be paused, or a queued one finishes."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from dreamcraft3d import service
from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order
from dreamcraft3d.service.transitions import STOPPING, TRANSITIONS, Event
from dreamcraft3d_protocol.messages import State

STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)
FROM_CLIENTS = ("pause", "cancel", "resume")
FROM_ENGINE = ("leave", "finish", "fail")


def job_that_is(state: State) -> Job:
    preset = load_preset("draft")
    order = Order(prompt="a red car", preset=preset, seed=0, first="coarse", until="texture", picture=None, mesh=None)
    return Job("a", "", 0.0, 1, order, state)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_an_event_moves_a_job_as_the_table_says_or_leaves_it_alone(state: State, event: Event) -> None:
    job, becomes = job_that_is(state), TRANSITIONS[event].get(state)
    assert job.take(event) == (becomes is not None)
    assert job.state == (becomes or state)


def test_the_worker_is_done_with_exactly_those_jobs_that_it_has() -> None:
    for event in FROM_ENGINE:
        not_yet_handed_over = {"queued"} if event == "fail" else set()
        assert set(TRANSITIONS[event]) == set(STOPPING) | not_yet_handed_over
        assert not set(STOPPING) & set(TRANSITIONS[event].values())
    assert {state for state in STATES if job_that_is(state).active} == set(STOPPING)


def test_what_is_done_stays_done_unless_it_is_lost_and_from_everywhere_a_job_can_become_done() -> None:
    assert [event for event, moves in TRANSITIONS.items() if "done" in moves] == ["lose"]
    reached: set[State] = {"done"}
    for _ in STATES:
        reached |= {a for moves in TRANSITIONS.values() for a, b in moves.items() if b in reached}
    assert reached == set(STATES)


def test_no_client_can_have_a_job_begin_finish_or_fail() -> None:
    for event in FROM_CLIENTS:
        assert not {"done", "failed"} & set(TRANSITIONS[event].values())
        assert "running" not in [b for a, b in TRANSITIONS[event].items() if a not in STOPPING]


def test_nothing_else_in_the_service_changes_a_state() -> None:
    files = Path(str(service.__file__)).parent.glob("*.py")
    setters = [file.name for file in files if "job.state =" in file.read_text().replace("job.state ==", "")]
    assert setters == []
