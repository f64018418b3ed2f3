# SPDX-License-Identifier: GPL-3.0-or-later
"""``dreamcraft3d doctor`` of the backend that was found, as a process of its own, read as it speaks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from .process import end_of, spawn, stop, tail

MAX_LINES = 60


@dataclass(frozen=True)
class Finding:
    """A line of it; ``good`` is False where something must be mended, and the text says how."""

    good: bool
    text: str


class Doctor:
    """Looks at the machine; :meth:`poll` until it is over.

    Attributes:
        over: whether all has been looked at.
        findings: so far.
        sentence: why it could not look, or empty.
    """

    def __init__(self, python: Path, log: Path) -> None:
        self.over = False
        self.findings: list[Finding] = []
        self.sentence = ""
        self._log, self._start = log, end_of(log)
        try:
            self._process = spawn([python, "-P", "-m", "dreamcraft3d.cli", "doctor", "--json"], log)
        except OSError as error:
            self.over, self.sentence = True, f"{python} cannot be started: {error.strerror}."

    def poll(self) -> bool:
        """Take in what it has said; returns whether it is over."""
        if self.over:
            return True
        code = self._process.poll()
        said = tail(self._log, MAX_LINES, self._start)
        self.findings = [finding for line in said if (finding := _finding(line)) is not None]
        self.over = code is not None
        if self.over and code not in (0, 1):  # 1: something is to be mended
            last = said[-1] if said else f"It ended with the status {code}."
            self.sentence = f"The doctor could not look. {last}"
        return self.over

    def close(self) -> None:
        """Leave off."""
        if not self.over:
            stop(self._process)
        self.over = True


def _finding(line: str) -> Finding | None:
    try:
        values = json.loads(line)
        return Finding(bool(values["good"]), str(values["text"]))
    except (ValueError, KeyError, TypeError):
        return None
