"""Which silent processes are given up. Seen to fail when silence alone counts, and when one's own sleep does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from serving import posix

from dreamcraft3d.service.pulse import Pulse

resource = pytest.importorskip("resource")
pytestmark = posix
HUNG = 1.5


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen([sys.executable, "-c", f"print(flush=True); {program}"], stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    yield running
    running.kill()
    running.wait()
    running.stdout.close()


def given_up(pulse: Pulse, seconds: float) -> float | None:
    """After how many seconds, if within so many."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        if pulse.lost():
            return now
        time.sleep(0.05)
    return None


def test_one_that_does_nothing_is_given_up_and_one_that_speaks_is_not() -> None:
    with process("import time; time.sleep(60)") as silent:
        pulse = Pulse(silent.pid, HUNG)
        for _ in range(4):
            pulse.heard()
            assert given_up(pulse, HUNG / 2) is None
        pulse.heard()
        assert given_up(pulse, 4 * HUNG) == pytest.approx(HUNG, abs=0.5)


def test_one_that_is_stopped_is_given_up() -> None:
    with process("\nwhile True: pass") as stopped:
        pulse = Pulse(stopped.pid, HUNG)
        pulse.heard()
        stopped.send_signal(signal.SIGSTOP)
        assert given_up(pulse, 4 * HUNG) is not None


def test_one_that_computes_is_waited_for() -> None:
    with process("\nwhile True: pass") as computing:
        pulse = Pulse(computing.pid, HUNG)
        pulse.heard()
        assert given_up(pulse, 3 * HUNG) is None
        assert pulse.silent > HUNG


def test_one_that_has_not_spoken_yet_is_waited_for() -> None:
    with process("import time; time.sleep(60)") as starting:
        assert given_up(Pulse(starting.pid, HUNG), 2 * HUNG) is None


def test_nobody_is_blamed_for_what_was_slept_through() -> None:
    with process("import time; time.sleep(60)") as silent:
        pulse = Pulse(silent.pid, HUNG)
        pulse.heard()
        assert not pulse.lost()
        time.sleep(2 * HUNG)
        assert not pulse.lost()


def test_one_that_cannot_be_looked_at_for_want_of_descriptors_is_not_blamed_at_once() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with process("import time; time.sleep(60)") as silent:
        pulse = Pulse(silent.pid, HUNG)
        pulse.heard()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            assert given_up(pulse, HUNG / 2) is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
