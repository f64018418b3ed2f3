# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of the backend as the panels show them: by id, with progress on three levels and the time left as words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dreamcraft3d_protocol.messages import Error, Fault, JobList, JobState, Message

from .placement import title

STAGES = {
    "": "Waiting",
    "reference": "Picture",
    "coarse": "Rough Shape",
    "geometry": "Fine Shape",
    "texture": "Painting",
    "export": "Finishing",
}
ADVANCING = ("coarse", "geometry", "texture")
"""Stages that can be ended before their steps are done."""
STATES = {
    "queued": "Waiting",
    "running": "Working",
    "pausing": "Pausing",
    "paused": "Paused",
    "cancelling": "Stopping",
    "cancelled": "Stopped",
    "done": "Done",
    "failed": "Failed",
}
RUNNING = ("running", "pausing", "cancelling")
"""States of a job that the worker has."""


@dataclass(frozen=True)
class Level:
    """One bar: how full from 0 to 1, and its words."""

    factor: float
    text: str


@dataclass(frozen=True)
class Progress:
    """The whole job, the stage it is in, and the step of that stage."""

    job: Level
    stage: Level
    step: str
    eta: str


def progress_of(job: JobState) -> Progress:
    """How far a job is."""
    done = job.state == "done"
    ratio = min(job.step / job.steps, 1.0) if job.steps else 0.0
    whole = 1.0 if done else min((job.stage_index + ratio) / max(job.stage_count, 1), 0.99)
    stage = "Done" if done else STAGES.get(job.stage, job.stage.title())
    numbered = f"{stage} ({job.stage_index + 1} of {job.stage_count})"
    step = f"Step {job.step} of {job.steps}" if job.steps > 1 and not done else ""
    eta = time_left(job) if job.state == "running" else ""
    bar = "Done" if done else f"{STATES[job.state]}, {whole:.0%}"
    return Progress(Level(whole, bar), Level(1.0 if done else ratio, stage if done else numbered), step, eta)


def time_left(job: JobState) -> str:
    """Of the stage and of the whole job, as far as it is known."""
    stage = f"{duration(job.eta_seconds)} left in this stage" if job.eta_seconds else ""
    whole = f"{duration(job.left_seconds)} until it is done" if job.left_seconds else ""
    return ", ".join(words for words in (stage, whole) if words)


def duration(seconds: float) -> str:
    """As one says it: ``a few seconds``, ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Jobs:
    """A mirror of the backend's jobs.

    Attributes:
        by_id: what was said last of each, oldest first.
        faults: what was not done of what was asked for a job that there is, by id.
        ordered: names of jobs that the backend has not answered yet, by id.
        ending: ids of jobs that were asked to end, until the backend says that they do, or will not.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, JobState] = {}
        self.faults: dict[str, Fault] = {}
        self.ordered: dict[str, str] = {}
        self.ending: set[str] = set()

    def take(self, message: Message) -> None:
        """Note what the backend says."""
        if isinstance(message, JobList):
            self.by_id = {job.job: job for job in message.jobs}
            self.faults.clear()
        elif isinstance(message, JobState):
            self.by_id[message.job] = message
            self.faults.pop(message.job, None)
            self.ordered.pop(message.job, None)
        elif isinstance(message, Error) and message.job is not None:
            self.ordered.pop(message.job, None)
            self.ending.discard(message.job)
            if message.job in self.by_id:
                self.faults[message.job] = Fault(message.code, message.sentence, message.hint, message.action)
        self.ending = set(filter(self.may_cancel, self.ending))

    def fault(self, job: str) -> Fault | None:
        """What is wrong with a job, if anything is."""
        known = self.by_id.get(job)
        return self.faults.get(job) or (known.error if known is not None else None)

    def state(self, job: str) -> str:
        """``queued``, ``running``...; empty for a job that is not known."""
        known = self.by_id.get(job)
        return known.state if known is not None else ""

    def may_cancel(self, job: str) -> bool:
        return self.state(job) in ("queued", "running", "pausing", "paused")

    def may_pause(self, job: str) -> bool:
        return self.state(job) in ("queued", "running")

    def may_resume(self, job: str) -> bool:
        return self.state(job) in ("paused", "cancelled", "failed")

    def may_forget(self, job: str) -> bool:
        return self.state(job) in ("queued", "paused", "cancelled", "failed", "done")

    def may_advance(self, job: str) -> bool:
        """Whether its stage can be ended before its steps are done, and has not been asked to end."""
        known = self.by_id.get(job)
        if known is None or known.state != "running":
            return False
        return known.stage in ADVANCING and known.stage not in known.advanced

    def may_move(self, job: str) -> bool:
        """Whether there are others that wait, too."""
        return self.state(job) == "queued" and sum(known.state == "queued" for known in self.by_id.values()) > 1

    def that(self, allowed: Callable[[str], bool]) -> list[str]:
        """The ids of the jobs with which something may be done, in the order of the queue; none that is to end."""
        lasting = [known for known in self.by_id.values() if known.job not in self.ending]
        return [known.job for known in sorted(lasting, key=lambda j: j.position) if allowed(known.job)]

    @property
    def paused(self) -> list[str]:
        """The ids of those that are paused, in the order of the queue."""
        return self.that(lambda job: self.state(job) == "paused")

    def has_object(self, job: str) -> bool:
        """Whether it makes more than a picture."""
        known = self.by_id.get(job)
        return known is None or known.stage_count > 1

    @property
    def active(self) -> bool:
        """Whether anything is being computed, or waits for it."""
        return any(job.state in ("queued", *RUNNING) for job in self.by_id.values())

    @property
    def running(self) -> JobState | None:
        """The one that the worker has."""
        return next((job for job in self.by_id.values() if job.state in RUNNING), None)

    def newest_first(self) -> list[JobState]:
        return sorted(self.by_id.values(), key=lambda job: job.created, reverse=True)

    def in_turn(self) -> list[JobState]:
        """What runs, what waits in the order of the queue, and then the others, the newest first."""
        waits = ("queued", "paused")

        def turn(job: JobState) -> tuple[int, int]:
            if job.state in waits:
                return 1, job.position
            return (0, 0) if job.state in RUNNING else (2, 0)

        return sorted(self.newest_first(), key=turn)

    def in_focus(self, chosen: str) -> str:
        """The job to show: the chosen one, or else the one that runs, or else the newest; empty if there is none."""
        if chosen in self.by_id or chosen in self.ordered:
            return chosen
        jobs = [job for job in self.newest_first() if self.has_object(job.job)]
        running = self.running if self.running in jobs else None
        return (
            (running.job if running is not None else "")
            or next(iter(self.ordered), "")
            or next((j.job for j in jobs), "")
        )


def title_of(job: JobState) -> str:
    """What to call it in lists."""
    return job.name or title(job.prompt)
