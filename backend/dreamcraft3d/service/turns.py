"""Whose turn it is: the jobs that wait, in order, and how one is given another place among them."""

from __future__ import annotations

from collections.abc import Iterable

from dreamcraft3d.service.job import Job
from dreamcraft3d_protocol.messages import Where


def waiting(jobs: Iterable[Job]) -> list[Job]:
    """Those that wait for the worker, the next one first."""
    return sorted((job for job in jobs if job.state == "queued"), key=lambda job: job.position)


def move(queue: list[Job], job: Job, where: Where) -> list[Job]:
    """Give one of the waiting jobs another place; the places of all others stay as they are.

    Returns:
        those whose position has changed.
    """
    positions = [waits.position for waits in queue]
    here, last = queue.index(job), len(queue) - 1
    there = {"front": 0, "up": max(here - 1, 0), "down": min(here + 1, last), "back": last}[where]
    order = [waits for waits in queue if waits is not job]
    order.insert(there, job)
    moved = [waits for waits, position in zip(order, positions, strict=True) if waits.position != position]
    for waits, position in zip(order, positions, strict=True):
        waits.position = position
    return moved
