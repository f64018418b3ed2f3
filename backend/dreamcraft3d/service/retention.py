"""How long jobs are kept, and how much room the data folder may take: what is beyond that is deleted, the oldest first."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job

CHECK_SECONDS = 3600.0
DAY = 86400.0
"""Seconds; what ended within the last day is never deleted to make room: its artist may not have seen it yet."""
GB = 1e9


@dataclass(frozen=True)
class Limits:
    """What is kept: jobs for so many days after they ended, and of the data folder so much; None for all."""

    days: float | None = None
    gigabytes: float | None = None


ALL = Limits()


def overdue(
    data: DataFolder, jobs: Collection[Job], attached: Collection[str], limits: Limits, now: float
) -> Iterator[tuple[Job, str]]:
    """The jobs to delete, the one that ended first before the others, and why.

    What runs, waits or is paused is in use, and so is what such a job goes on from, and what a client is ``attached`` to.
    """
    if limits == ALL:
        return
    going_on = [job for job in jobs if not job.ended]
    in_use = {*attached, *(job.order.start.base for job in going_on if job.order.start is not None)}
    measured = [(*measure(data.job(job.id)), job) for job in jobs if job.ended and job.id not in in_use]
    artefacts, users = Artefacts(data.artefacts), Counter(name for job in jobs for name in job.order.artefacts)
    used, _ = measure(data.path) if limits.gigabytes is not None else (0, 0.0)
    for size, written, job in sorted(measured, key=lambda found: max(found[1], found[2].created)):
        age = (now - max(written, job.created)) / DAY
        if limits.days is not None and age > limits.days:
            why = f"it ended {age:.0f} days ago, and jobs are kept for {limits.days:g}"
        elif limits.gigabytes is not None and used > limits.gigabytes * GB and age > 1:
            why = f"the data folder takes {used / GB:.2f} GB, and {limits.gigabytes:g} are allowed"
        else:
            continue
        own = [artefacts.path(name) for name in job.order.artefacts if users[name] == 1]
        users.subtract(job.order.artefacts)
        used -= size + sum(file.stat().st_size for file in own if file.is_file())
        yield job, why


def measure(folder: Path) -> tuple[int, float]:
    """Bytes of all files of a folder, and when the newest was written, in seconds since 1970; zeros where there is none."""
    size, written = 0, 0.0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(where, name))
            except OSError:  # gone meanwhile
                continue
            size, written = size + found.st_size, max(written, found.st_mtime)
    return size, written
