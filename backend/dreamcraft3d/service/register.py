"""All jobs of a backend: as they are, in the journal as far as the disk will have it, and told to everybody."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.going_on import made_by
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import order_file
from dreamcraft3d.service.store import Store
from dreamcraft3d.service.turns import waiting
from dreamcraft3d_protocol.files import private_folder, write_private
from dreamcraft3d_protocol.messages import Error, Message

log = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
"""Between two notes of a job's steps, and before what the disk would not have is tried again."""


class Register:
    """Jobs by their ids.

    Args:
        data: the folder where each has its own.
        store: the journal, from which they are read.
        tell_all: tells every client something.

    Attributes:
        jobs: all that can be read.
        partial: whether the journal holds others.
    """

    def __init__(self, data: DataFolder, store: Store, tell_all: Callable[[Message], None]) -> None:
        self._data, self._store, self._tell_all = data, store, tell_all
        self._saved_at = 0.0
        self._unsaved: set[str] = set()
        jobs, unread = store.load()
        for name in unread:
            log.error("job %s cannot be read, as if another version had written it; it is left alone", name)
        self.jobs, self.partial = {job.id: job for job in jobs}, bool(unread)
        for job in jobs:
            job.made = made_by(self.run_of(job))
            if job.active:  # as the last supervisor ended: it goes on, or rests or ends if that was asked for
                job.take("leave")
                self.save(job)

    @property
    def running(self) -> Job | None:
        return next((job for job in self.jobs.values() if job.active), None)

    @property
    def queue(self) -> list[Job]:
        """The jobs that wait, the next one first."""
        return waiting(self.jobs.values())

    @property
    def last_position(self) -> int:
        return max((job.position for job in self.jobs.values()), default=0)

    def find(self, name: str) -> Job:
        """A job by its id. Raises UserError."""
        if name not in self.jobs:
            raise UserError("The backend has no such job.", "It may have been deleted, or be another backend's.")
        return self.jobs[name]

    def run_of(self, job: Job) -> Path:
        return self._data.job(job.id) / "object"

    def add(self, job: Job) -> None:
        """Take a new one in. Raises OSError or UserError if the disk will not have it; then it is not there."""
        try:
            self.write_order(job)
            self._store.save(job)
        except (OSError, UserError):
            shutil.rmtree(self._data.job(job.id), ignore_errors=True)
            raise
        self.jobs[job.id] = job
        self._tell_all(job.told())

    def write_order(self, job: Job) -> None:
        """For the worker, and for whoever has to mend the journal. Raises OSError."""
        folder = private_folder(self._data.job(job.id))
        write_private(order_file(folder), job.order.model_dump_json().encode())

    def delete(self, job: Job) -> None:
        """Forget one, with its folder. Raises UserError or OSError if the disk is in the way."""
        order_file(self._data.job(job.id)).unlink(missing_ok=True)  # by which it would be found again
        self._store.delete(job.id)
        del self.jobs[job.id]
        self._unsaved.discard(job.id)
        shutil.rmtree(self._data.job(job.id), ignore_errors=True)

    def changed(self, job: Job) -> None:
        """Keep one as it is now, and tell."""
        self.save(job)
        self._tell_all(job.told())

    def stepped(self, job: Job) -> None:
        """Tell how far one has come; it is kept now and then."""
        self._tell_all(job.told())
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save(job)

    def save(self, job: Job) -> None:
        """Keep one in the journal; if the disk will not have it, it goes on, everybody is told, and it is tried again."""
        self._saved_at = time.monotonic()
        try:
            self._store.save(job)
        except UserError as error:
            if job.id not in self._unsaved:
                log.error("%s", error)
                self._tell_all(Error("disk", error.sentence, error.hint, "", job.id))
            self._unsaved.add(job.id)
        else:
            self._unsaved.discard(job.id)

    def save_again(self) -> None:
        """Try, now and then, what the disk would not have."""
        if self._unsaved and time.monotonic() - self._saved_at > SAVE_SECONDS:
            for job in [self.jobs[name] for name in self._unsaved]:
                self.save(job)
