"""What all workers that compute nothing share: how they are started instead of the real one, and what they do for a job."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable

from dreamcraft3d.service.line import Line
from dreamcraft3d.service.worker_messages import Ready, Run

SERVE = """
import sys
from dreamcraft3d import cli
from dreamcraft3d.service import engine
engine.PROGRAM = (sys.argv.pop(1),)
cli.main()
"""
"""``python -c SERVE WORKER serve ...`` is the real backend with another program as its worker."""


def work(do: Callable[[Run, Line], None]) -> None:
    """Do jobs, one after the other, until standard input ends."""
    greeting = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    line = Line(greeting["endpoint"], *(greeting[name].encode() for name in ("server", "public", "secret")))
    line.start()
    line.tell(Ready("cpu"), {})
    while True:
        do(line.next_order(), line)


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)
