# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a Python that has the backend, and proving it in a process of its own, without waiting for it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .process import end_of, spawn, stop, tail

PROOF = "dreamcraft3d is here:"
CHECK = f"import dreamcraft3d.cli, dreamcraft3d as d; print({PROOF!r}, d.__version__)"
PATIENCE_SECONDS = 60.0
"""What a Python gets to answer; the first import from a slow disk takes long."""


@dataclass(frozen=True)
class Candidate:
    """A Python that may have the backend.

    Attributes:
        python: the program.
        where: who named it, as a sentence can hold it.
        named: somebody asked for this one, so that it is worth saying what is wrong with it.
    """

    python: Path
    where: str
    named: bool = True


def candidates(preferred: str, environment: Path) -> list[Candidate]:
    """Where to look, in this order: the preferences, ``DREAMCRAFT3D_PYTHON``, the add-on's own environment."""
    given = [(preferred, "the preferences"), (os.environ.get("DREAMCRAFT3D_PYTHON", ""), "DREAMCRAFT3D_PYTHON")]
    named = [Candidate(Path(path).expanduser(), where) for path, where in given if path.strip()]
    return [*named, Candidate(python_of(environment), "the add-on's own environment", named=False)]


def python_of(environment: Path) -> Path:
    """The Python of a virtual environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


class Search:
    """Tries candidates one after the other; :meth:`poll` until it is over.

    Attributes:
        over: whether all is known.
        found: the first that has the backend, or None.
        version: of that backend.
        sentence: what is wrong with the Python that somebody named, or empty.
    """

    def __init__(self, candidates: Sequence[Candidate], log: Path) -> None:
        self.over = False
        self.found: Path | None = None
        self.version = ""
        self.sentence = ""
        self._left = list(candidates)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._deadline = 0.0

    def poll(self) -> bool:
        """Go on as far as possible without waiting; returns whether the search is over."""
        while not self.over:
            if not self._left:
                self.over = True
            elif self._process is None:
                self._begin(self._left[0])
            elif self._process.poll() is None and time.monotonic() < self._deadline:
                return False
            else:
                self._judge(self._left[0], self._process)
        return True

    def close(self) -> None:
        """Leave off."""
        if self._process is not None:
            stop(self._process)
        self.over = True

    def _begin(self, candidate: Candidate) -> None:
        if not candidate.python.is_file():
            self._reject(candidate, f"There is no Python at {candidate.python}, which {candidate.where} names.")
            return
        self._log_start = end_of(self._log)
        try:
            self._process = spawn([candidate.python, "-P", "-c", CHECK], self._log)
        except OSError as error:
            self._reject(candidate, f"{candidate.python} cannot be started: {error.strerror}.")
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def _judge(self, candidate: Candidate, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        code = process.poll()
        said = tail(self._log, 1, self._log_start)
        if code is None:
            stop(process)
            self._reject(candidate, f"{candidate.python} did not answer within {PATIENCE_SECONDS:.0f} s.")
        elif code == 0 and said and said[0].startswith(PROOF):
            self.found, self.version, self.over = candidate.python, said[0].removeprefix(PROOF).strip(), True
        else:
            self._reject(
                candidate, f"The Python at {candidate.python}, which {candidate.where} names, lacks the backend."
            )

    def _reject(self, candidate: Candidate, why: str) -> None:
        self._left.pop(0)
        if candidate.named and not self.sentence:
            self.sentence = why
