"""What becomes of a job that is steered: stopped, gone on with, led on to its next stage."""

from __future__ import annotations

from typing import Literal

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES
from dreamcraft3d.service.engine import Engine
from dreamcraft3d.service.job import Job


def stop(job: Job, how: Literal["pause", "cancel"], engine: Engine) -> None:
    """Have a job stopped by the worker, or at once where that has not got it; nothing where it has ended."""
    if job.take(how) and job.active:
        engine.stop(job.id)


def go_on(job: Job, last: int, engine: Engine) -> None:
    """Let a job wait for its turn again: one that was paused in its old place, another one after the ``last``."""
    keeps_place = job.state == "paused"
    if job.take("resume") and not job.active:
        if not keeps_place:
            job.position = last + 1
        job.sentence, job.error, job.attempts, job.headway = "", None, 0, ""
        engine.wake()


def advance(job: Job, stage: str) -> bool:
    """Note that a stage is to end before its steps are done; False where it is not the present one, or was noted before.

    Raises:
        UserError: it has no steps.
    """
    if job.state != "running" or stage != job.stage or stage in job.advanced:
        return False
    if stage not in STAGES[1:]:
        raise UserError("This stage has no steps that could be left out.", "Wait for the next one.")
    job.advanced = (*job.advanced, stage)
    return True
