"""Whose turn it is: the jobs that wait, in order, and how one is given another place among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dreamcraft3d.service.job import Job
from dreamcraft3d_protocol.messages import Where


def waiting(jobs: Iterable[Job]) -> list[Job]:
    """Those that wait for the worker, the next one first."""
    return sorted((job for job in jobs if job.state == "queued"), key=lambda job: job.position)


def move(jobs: Collection[Job], job: Job, where: Where) -> list[Job]:
    """Give one of the jobs that wait another place: beside its neighbour, or before or behind all jobs.

    Returns:
        those whose position has changed, which are two at most.
    """
    queue = waiting(jobs)
    here = queue.index(job)
    there = {"front": 0, "up": max(here - 1, 0), "down": min(here + 1, len(queue) - 1), "back": len(queue) - 1}[where]
    if there == here:
        return []
    if where in ("up", "down"):
        other = queue[there]
        job.position, other.position = other.position, job.position
        return [job, other]
    places = [other.position for other in jobs]
    job.position = min(places) - 1 if where == "front" else max(places) + 1
    return [job]
