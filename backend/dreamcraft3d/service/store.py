"""The journal: every job in an SQLite file, so that jobs outlive the process that queued them."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import uuid
from pathlib import Path

from pydantic import ValidationError

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order
from dreamcraft3d_protocol.messages import Fault

_TABLES = """
CREATE TABLE IF NOT EXISTS backend (id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, position INTEGER NOT NULL, request TEXT NOT NULL,
    state TEXT NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL, steps INTEGER NOT NULL, seconds REAL NOT NULL,
    sentence TEXT NOT NULL, error TEXT, attempts INTEGER NOT NULL, headway TEXT NOT NULL,
    advanced TEXT NOT NULL DEFAULT ''
);
"""
_COLUMNS = (
    "id name created position request state stage step steps seconds sentence error attempts headway advanced".split()
)


class Store:
    """The journal of one data folder; for one thread.

    All methods raise UserError if the disk will not have it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
            path.chmod(0o600)
            # Readers are not kept waiting, and what is told to a client is on the disk before: a power cut loses no job.
            self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            self._database.executescript(_TABLES)
            if not any(column[1] == "advanced" for column in self._database.execute("PRAGMA table_info(jobs)")):
                self._database.execute("ALTER TABLE jobs ADD COLUMN advanced TEXT NOT NULL DEFAULT ''")
            row = self._database.execute("SELECT id FROM backend").fetchone()
            if row is None:
                row = (str(uuid.uuid4()),)
                self._database.execute("INSERT INTO backend VALUES (?)", row)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from None
        self.backend_id: str = row[0]
        """A UUID that stays with the data folder."""

    def load(self) -> tuple[list[Job], list[str]]:
        """All jobs in the order of the queue, and the names of those that another version wrote and cannot be read."""
        try:
            rows = self._database.execute(f"SELECT {', '.join(_COLUMNS)} FROM jobs ORDER BY position").fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from None
        jobs, unread = [], []
        for row in rows:
            values = dict(zip(_COLUMNS, row, strict=True))
            try:
                order = Order.model_validate_json(values.pop("request"))
                text, advanced = values.pop("error"), tuple(values.pop("advanced").split())
                fault = None if text is None else Fault(**json.loads(text))
                jobs.append(Job(order=order, error=fault, advanced=advanced, **values))
            except (ValidationError, ValueError, TypeError):
                unread.append(str(row[0]))
        return jobs, unread

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
