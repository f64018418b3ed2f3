"""The data folder: where everything of a backend lies, and the lock that gives it to one supervisor."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import AcquireReturnProxy, FileLock, Timeout

from dreamcraft3d.errors import UserError
from dreamcraft3d_protocol.connection import Connection
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.files import private_folder

FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = "The disk of the backend is full."
SHARES = frozenset("9p afs ceph cifs fuse.glusterfs fuse.sshfs glusterfs lustre ncpfs nfs nfs4 smb2 smb3 smbfs".split())
"""Kinds of file systems that are other computers': locks and SQLite's WAL do not hold there."""


@dataclass(frozen=True)
class DataFolder:
    """Paths inside of it."""

    path: Path

    @property
    def journal(self) -> Path:
        return self.path / "jobs.sqlite3"

    @property
    def artefacts(self) -> Path:
        return self.path / "artefacts"

    @property
    def presets(self) -> Path:
        """The user's own presets."""
        return self.path / "presets"

    @property
    def log(self) -> Path:
        return self.path / "serve.log"

    def job(self, job: str) -> Path:
        """What belongs to one job; ``job`` is a UUID."""
        return self.path / "jobs" / job

    @property
    def worker_lock(self) -> FileLock:
        """Held by the worker for as long as it lives."""
        return FileLock(self.path / "worker.lock")

    def acquire(self) -> AcquireReturnProxy:
        """Make the folder and take its lock, which is given back by leaving a ``with`` of what is returned.

        Raises:
            UserError: another supervisor has it, or the folder cannot be written.
        """
        lock = FileLock(self.path / "serve.lock")
        if _is_shared(self.path):
            raise UserError(
                f"{self.path} lies on a network share, where jobs could be lost.",
                "Name a folder on a disk of this machine by --data, or DREAMCRAFT3D_DATA.",
            )
        try:
            private_folder(self.path)
            return lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"A backend{self._holder()} serves {self.path} already.", "Attach to that one, or name another --data."
            ) from None
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written: {error.strerror}.", "Name another folder by --data."
            ) from None

    def _holder(self) -> str:
        try:
            connection = Connection.read(self.path)
        except ProtocolError:
            return ""
        return "" if connection is None else f" (process {connection.pid})"


def _is_shared(path: Path) -> bool:
    """Whether a folder, there or not yet, lies on another computer's disk."""
    places = [path.resolve(), *path.resolve().parents]
    above = [disk for disk in psutil.disk_partitions(all=True) if Path(disk.mountpoint) in places]
    if not above:
        return False
    nearest = max(above, key=lambda disk: len(disk.mountpoint))
    return nearest.fstype.lower() in SHARES or "remote" in nearest.opts.split(",")
