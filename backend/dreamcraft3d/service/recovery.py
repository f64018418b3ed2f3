"""A damaged journal loses no job: it is set aside, and they are found again by what is left of it and by their folders."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order, order_file
from dreamcraft3d.service.result import FILE
from dreamcraft3d.service.store import DamagedJournal, Store, salvage

log = logging.getLogger(__name__)

FOUND = "The backend had lost this job and has found it again. Resume it to go on."


def open_journal(data: DataFolder) -> Store:
    """The journal of a data folder, with all jobs whose folders are there: SQLite takes part of a damaged file for less.

    Raises:
        UserError: the disk will not have it.
    """
    try:
        store = Store(data.journal)
    except DamagedJournal:
        aside = _set_aside(data.journal)
        log.error("the journal was damaged, and lies aside as %s", aside.name)
        store = Store(data.journal)
        for job in salvage(aside):
            store.save(job)
    known = store.places()
    found = [job for job in _in_folders(data.path / "jobs") if job.id not in known]
    for position, job in enumerate(found, max(known.values(), default=0) + 1):
        job.position = position
        log.error("the job %s was not in the journal, but its folder is there", job.id)
        store.save(job)
    return store


def _set_aside(journal: Path) -> Path:
    """Rename it, with the files that SQLite keeps beside it; returns its new place."""
    names = (f"{journal.stem}-damaged-{number}{journal.suffix}" for number in range(1, 10_000))
    aside = next(place for place in map(journal.with_name, names) if not place.exists())
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            journal.with_name(journal.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _in_folders(jobs: Path) -> Iterator[Job]:
    """The jobs whose folders are there, the oldest first: done, or paused, so that none begins that was not wanted."""
    orders = [order_file(folder) for folder in jobs.glob("*") if _is_job(folder.name)]
    for file in sorted(filter(Path.is_file, orders), key=lambda file: file.stat().st_mtime):
        with contextlib.suppress(OSError, ValidationError, ValueError):
            order = Order.model_validate_json(file.read_text(encoding="utf-8"))
            job = Job(file.parent.name, "", file.stat().st_mtime, 0, order, state="paused", sentence=FOUND)
            if (file.parent / FILE).is_file():
                job.state, job.sentence = "done", ""
            yield job


def _is_job(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return str(uuid.UUID(name)) == name
    return False
