"""What becomes of a job's state when something happens to it: one table, and nothing else changes a state."""

from __future__ import annotations

from typing import Literal

from dreamcraft3d_protocol.messages import State

Event = Literal["begin", "pause", "cancel", "resume", "leave", "finish", "fail", "lose"]

STOPPING: dict[State, State] = {"running": "queued", "pausing": "paused", "cancelling": "cancelled"}
"""The states of a job that the worker has, and what it is once the worker has it no longer."""

TRANSITIONS: dict[Event, dict[State, State]] = {
    # the supervisor hands it to the worker
    "begin": {"queued": "running"},
    # a client asks; the worker stops what it has after its present step
    "pause": {"queued": "paused", "running": "pausing", "cancelling": "pausing"},
    "cancel": {"queued": "cancelled", "paused": "cancelled", "running": "cancelling", "pausing": "cancelling"},
    # a job that is being paused begins anew when the worker has stopped it
    "resume": {"pausing": "running", "paused": "queued", "cancelled": "queued", "failed": "queued"},
    # the worker has stopped it, or has died, or the supervisor had
    "leave": STOPPING,
    # the worker is done with it; it may have been too late to stop
    "finish": dict.fromkeys(STOPPING, "done"),
    # the worker says that it cannot be done, or dies of it again and again, or it cannot be handed over
    "fail": {"queued": "failed", **dict.fromkeys(STOPPING, "failed")},
    # its result is not on the disk any more
    "lose": {"done": "failed"},
}
"""For each event the states in which it can happen, and what they become."""


def after(state: State, event: Event) -> State | None:
    """The state that an event leads to, or None where it does not fit."""
    return TRANSITIONS[event].get(state)
