# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of the backend as the panels show them: by id, with progress on three levels and the time left as words."""

from __future__ import annotations

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
STATES = {
    "queued": "Waiting",
    "running": "Working",
    "cancelling": "Stopping",
    "cancelled": "Stopped",
    "done": "Done",
    "failed": "Failed",
}


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
    number = f"{job.stage_index + 1} of {job.stage_count}"
    step = f"Step {job.step} of {job.steps}" if job.steps > 1 and not done else ""
    eta = f"{duration(job.eta_seconds)} left in this stage" if job.eta_seconds and job.state == "running" else ""
    bar = "Done" if done else f"{STATES[job.state]}, {whole:.0%}"
    return Progress(
        Level(whole, bar), Level(1.0 if done else ratio, stage if done else f"{stage} ({number})"), step, eta
    )


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
    """

    def __init__(self) -> None:
        self.by_id: dict[str, JobState] = {}
        self.faults: dict[str, Fault] = {}
        self.ordered: dict[str, str] = {}

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
            if message.job in self.by_id:
                self.faults[message.job] = Fault(message.code, message.sentence, message.hint, message.action)

    def fault(self, job: str) -> Fault | None:
        """What is wrong with a job, if anything is."""
        known = self.by_id.get(job)
        return self.faults.get(job) or (known.error if known is not None else None)

    def state(self, job: str) -> str:
        """``queued``, ``running``...; empty for a job that is not known."""
        known = self.by_id.get(job)
        return known.state if known is not None else ""

    def may_cancel(self, job: str) -> bool:
        return self.state(job) in ("queued", "running")

    def may_resume(self, job: str) -> bool:
        return self.state(job) in ("cancelled", "failed")

    def may_forget(self, job: str) -> bool:
        return self.state(job) in ("queued", "cancelled", "failed", "done")

    @property
    def active(self) -> bool:
        """Whether anything is being computed, or waits for it."""
        return any(job.state in ("queued", "running", "cancelling") for job in self.by_id.values())

    def newest_first(self) -> list[JobState]:
        return sorted(self.by_id.values(), key=lambda job: job.created, reverse=True)

    def in_focus(self, chosen: str) -> str:
        """The job to show: the chosen one, or else the one that runs, or else the newest; empty if there is none."""
        if chosen in self.by_id or chosen in self.ordered:
            return chosen
        jobs = self.newest_first()
        running = [job for job in jobs if job.state in ("running", "cancelling")]
        return next((job.job for job in running), "") or next(iter(self.ordered), "") or next((j.job for j in jobs), "")


def title_of(job: JobState) -> str:
    """What to call it in lists."""
    return job.name or title(job.prompt)
