"""Whether a process that should speak once a second is alive: what it says, and what the system says of it."""

from __future__ import annotations

import contextlib
import time

import psutil

HUNG_SECONDS = 10.0
"""Of silence, in which the process took no time of the processor and did not wait for it or for a disk."""
BUSY_SECONDS = 120.0
"""Of silence of a process that works: a long call into a library, or a machine with too much to do."""
STILL_SECONDS, START_SECONDS = 30.0, 300.0
"""The same before the first word: libraries are loaded, perhaps from a slow disk, and an earlier worker may have to end."""
TICK_SECONDS = 1.0
"""The most that counts between two looks: what this process itself slept through says nothing about another."""
WORKING_SECONDS = 0.02
"""Of the processor's time; less is the clock's grain."""
WAITS = (psutil.STATUS_RUNNING, psutil.STATUS_DISK_SLEEP)


class Pulse:
    """Of one process, which must be a child of this one that was not waited for.

    Windows calls every process running, so that a hung one is noticed there after ``BUSY_SECONDS`` only.
    """

    def __init__(self, pid: int, hung: float = HUNG_SECONDS) -> None:
        """
        Args:
            hung: seconds of silence that a process which does nothing gets.
        """
        self._process, self._hung = psutil.Process(pid), hung
        self._spoke = False
        self._looked_at = time.monotonic()
        self._silent, self._look_again = 0.0, hung
        self._worked = self._work()

    @property
    def silent(self) -> float:
        """Seconds without a word."""
        return self._silent

    def heard(self) -> None:
        """It said something."""
        self._spoke, self._silent, self._look_again = True, 0.0, self._hung

    def lost(self) -> bool:
        """Whether it is given up; to be asked often."""
        now = time.monotonic()
        if self._silent < TICK_SECONDS:
            self._worked = self._work()
        self._silent += min(now - self._looked_at, TICK_SECONDS)
        self._looked_at = now
        if self._silent < self._look_again:
            return False
        self._look_again = self._silent + self._hung
        idle, busy = (self._hung, BUSY_SECONDS) if self._spoke else (STILL_SECONDS, START_SECONDS)
        return self._silent >= (busy if self._works() else idle)

    def _works(self) -> bool:
        before, self._worked = self._worked, self._work()
        return self._worked - before > WORKING_SECONDS or self._status() in WAITS

    def _work(self) -> float:
        """Seconds of the processor that it took so far."""
        with contextlib.suppress(psutil.Error, OSError):
            took = self._process.cpu_times()
            return float(took.user + took.system)
        return 0.0

    def _status(self) -> str:
        with contextlib.suppress(psutil.Error, OSError):
            return str(self._process.status())
        return ""
