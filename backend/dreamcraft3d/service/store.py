"""The journal: every job in an SQLite file, so that jobs outlive the process that queued them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.fields import from_plain, to_plain
from dreamcraft3d_protocol.messages import Fault, JobState

_TABLES = """
CREATE TABLE IF NOT EXISTS backend (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, position INTEGER NOT NULL, request TEXT NOT NULL,
    state TEXT NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL, steps INTEGER NOT NULL, seconds REAL NOT NULL,
    sentence TEXT NOT NULL, error TEXT, attempts INTEGER NOT NULL, headway TEXT NOT NULL,
    advanced TEXT NOT NULL DEFAULT '', begun INTEGER NOT NULL DEFAULT 0
);
"""
_NEWER = ("advanced TEXT NOT NULL DEFAULT ''", "begun INTEGER NOT NULL DEFAULT 0")
"""Columns that journals of earlier versions lack."""
_COLUMNS = (
    "id name created position request state stage step steps seconds sentence error attempts headway advanced begun"
).split()
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREADABLE = (ValidationError, ValueError, TypeError, AttributeError, ProtocolError)


class DamagedJournal(Exception):
    """The file is no journal, or not as it was written; see ``recovery.py``."""


class Store:
    """The journal of one data folder; for one thread.

    All methods raise UserError if the disk will not have it, and the first DamagedJournal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
        except sqlite3.Error as error:
            raise self._trouble(error) from None
        try:
            path.chmod(0o600)
            self.backend_id = self._prepare()
        except (sqlite3.Error, OSError, DamagedJournal) as error:
            self._database.close()
            if isinstance(error, DamagedJournal) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise DamagedJournal(path) from None
            raise self._trouble(error) from None

    def _prepare(self) -> str:
        """The backend's id, a UUID that stays with the data folder."""
        # Readers are not kept waiting, and what is told to a client is on the disk before: a power cut loses no job.
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        self._database.executescript(_TABLES)
        there = {column[1] for column in self._database.execute("PRAGMA table_info(jobs)")}
        for column in _NEWER:
            if column.split()[0] not in there:
                self._database.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
        if self._database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise DamagedJournal(self._path)
        row = self._database.execute("SELECT id FROM backend").fetchone()
        if row is None:
            row = (str(uuid.uuid4()),)
            self._database.execute("INSERT INTO backend VALUES (?)", row)
        return str(row[0])

    def load(self) -> tuple[list[Job], list[str]]:
        """All jobs in the order of the queue, and the names of those that cannot be read: another version's, or damaged."""
        try:
            rows = self._database.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY position").fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from None
        jobs, unread = [], []
        for row in rows:
            try:
                jobs.append(_job(row))
            except _UNREADABLE:
                unread.append(str(row[0]))
        return jobs, unread

    def places(self) -> dict[str, int]:
        """The positions of all jobs, also of those that cannot be read."""
        try:
            return dict(self._database.execute("SELECT id, CAST(position AS INTEGER) FROM jobs").fetchall())
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def save(self, job: Job) -> None:
        """Write a job as it is now."""
        values = {name: getattr(job, name) for name in _COLUMNS if name not in ("request", "error")}
        values["request"] = job.order.model_dump_json()
        values["advanced"] = " ".join(job.advanced)
        values["error"] = None if job.error is None else json.dumps(dataclasses.asdict(job.error))
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        self._execute(f"INSERT OR REPLACE INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})", values)

    def delete(self, job: str) -> None:
        """Forget a job."""
        self._execute("DELETE FROM jobs WHERE id = :id", {"id": job})

    def close(self) -> None:
        self._database.close()

    def _execute(self, statement: str, values: dict[str, object]) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> UserError:
        return UserError(
            f"The journal {self._path} cannot be used: {error}.", "Free space there, or name another --data."
        )


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_COLUMNS, row, strict=True))
    order = Order.model_validate_json(values.pop("request"))
    text, advanced = values.pop("error"), tuple(values.pop("advanced").split())
    fault = None if text is None else Fault(**json.loads(text))
    job = Job(order=order, error=fault, advanced=advanced, **values)
    from_plain(to_plain(job.told()), {JobState.kind: JobState}, 0)  # SQLite does not see that a value is damaged
    return job


def salvage(path: Path) -> Iterator[Job]:
    """The jobs of a damaged journal up to the first that cannot be read."""
    database = sqlite3.connect(path)
    try:
        for row in database.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs"):
            with contextlib.suppress(*_UNREADABLE):
                yield _job(row)
    except sqlite3.Error:
        return
    finally:
        database.close()
