"""Which jobs a client is told of at once: a list of them all could be too long for one message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgpack

from dreamcraft3d.service.job import Job
from dreamcraft3d.service.turns import waiting
from dreamcraft3d_protocol.codec import MAX_HEADER_BYTES
from dreamcraft3d_protocol.fields import to_plain
from dreamcraft3d_protocol.messages import JobList, JobState

MAX_LISTED = 100
MAX_LISTED_BYTES = MAX_HEADER_BYTES - (1 << 12)
"""Of the jobs of a list, beside what else is in its header."""


def listed(jobs: Collection[Job], before: float | None = None) -> JobList:
    """What runs, what is paused or waits next, and the newest of the others; or the newest created ``before`` a moment.

    At most a hundred; fewer where they are so wordy that one message cannot hold them.
    """
    queue = waiting(jobs)
    by_age = sorted(jobs, key=lambda job: job.created)
    if before is not None:
        order = [job for job in reversed(by_age) if job.created < before]
    else:
        resting = [job for job in by_age if job.state == "paused"]
        pressing = [*(job for job in by_age if job.active), *resting, *queue]
        order = [*pressing[: MAX_LISTED // 2], *reversed(by_age)]
    chosen = list({job.id: job for job in order}.values())[:MAX_LISTED]
    told = sorted(_fitting(job.told() for job in chosen), key=lambda job: job.created)
    return JobList(tuple(told), len(jobs), len(queue), before)


def _fitting(jobs: Iterable[JobState]) -> Iterator[JobState]:
    """As many of the first as a message can hold."""
    room = MAX_LISTED_BYTES
    for job in jobs:
        room -= len(msgpack.packb(to_plain(job)))
        if room < 0:
            return
        yield job
