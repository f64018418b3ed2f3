# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting other programs from Blender: detached, with their words in a file, and free of Blender's own Python."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

LEAKS = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "PYTHONUSERBASE",
    "VIRTUAL_ENV",
    "__PYVENV_LAUNCHER__",
)
"""Variables by which Blender's Python would get into another one."""
LOG_BYTES = 1 << 20
"""A log longer than this is emptied before the next program writes to it."""


def environment() -> dict[str, str]:
    """This process's, without what belongs to Blender's Python."""
    return {name: value for name, value in os.environ.items() if name not in LEAKS} | {"PYTHONUTF8": "1"}


def spawn(command: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
    """Start a program that outlives Blender, what it says appended to ``log``.

    A pipe would fill up and stop it, and a window would open on Windows; neither happens here.

    Raises:
        OSError: the program or the log cannot be opened.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    flags = 0
    if os.name == "nt":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=log.parent,
            start_new_session=os.name == "posix",
            creationflags=flags,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started. Does not wait for it."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()


def terminate(pid: int, endpoint: str) -> None:
    """Ask the process that listens at an endpoint to end.

    Where nobody listens, the process has ended, and its number may be another's by now: it is left alone.

    Args:
        endpoint: ``tcp://HOST:PORT``.
    """
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=0.5):
            os.kill(pid, signal.SIGTERM)
    except (OSError, OverflowError, ValueError):
        return


def tail(log: Path, lines: int, start: int = 0) -> list[str]:
    """The last lines of a log that say anything; none if there is no log.

    Args:
        start: the byte from which on it is read.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - (1 << 14)))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    said = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    return [line for line in said if line][-lines:]


def end_of(log: Path) -> int:
    """Where what is said next begins, in bytes; a log that is too long is emptied first."""
    try:
        size = log.stat().st_size
        if size <= LOG_BYTES:
            return size
        os.truncate(log, 0)
    except OSError:
        return 0
    return 0
