"""A Python that has the backend of this checkout, whatever Python runs the tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from dreamcraft3d_protocol.connection import Connection

CHECKOUT = Path(__file__).resolve().parent.parent


def backend_python(folder: Path) -> Path:
    """A program in ``folder`` that is a Python with torch and the checkout's packages.

    The add-on takes PYTHONPATH from what it starts, so the program sets it itself. ``BACKEND_PYTHON`` names another Python
    than the one that runs the tests.
    """
    python = os.environ.get("BACKEND_PYTHON", sys.executable)
    script = folder / "backend-python"
    path = f"{CHECKOUT / 'backend'}:{CHECKOUT / 'shared'}"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {python} "$@"\n')
    script.chmod(0o755)
    return script


def wait_until(happened: Callable[[], bool], seconds: float = 60.0, said: Callable[[], object] = lambda: "") -> None:
    """Until something has happened, or fail with what ``said`` says."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, said()
        time.sleep(0.005)


def end_backend(data: Path) -> None:
    """End what serves a data folder, and wait until it is gone."""
    connection = Connection.read(data)
    if connection is not None and alive(connection.pid):
        os.kill(connection.pid, 15)
        wait_until(lambda: not alive(connection.pid), 40)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
