"""Which jobs a client is told of at once: a list of them all could be too long for one message."""

from __future__ import annotations

from collections.abc import Collection

from dreamcraft3d.service.job import Job
from dreamcraft3d.service.turns import waiting
from dreamcraft3d_protocol.messages import JobList

MAX_LISTED = 100


def listed(jobs: Collection[Job], before: float | None = None) -> JobList:
    """What runs, what is paused or waits next, and the newest of the others; or the newest created ``before`` a moment."""
    queue = waiting(jobs)
    by_age = sorted(jobs, key=lambda job: job.created)
    if before is not None:
        chosen = [job for job in by_age if job.created < before][-MAX_LISTED:]
    else:
        pressing = [job for job in by_age if job.active or job.state == "paused"] + queue
        order = [*pressing[: MAX_LISTED // 2], *reversed(by_age)]
        few = list({job.id: job for job in order}.values())[:MAX_LISTED]
        chosen = sorted(few, key=lambda job: job.created)
    return JobList(tuple(job.told() for job in chosen), len(jobs), len(queue), before)
