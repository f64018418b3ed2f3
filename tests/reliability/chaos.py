"""Jobs that outlive everything: ``python tests/reliability/chaos.py [--rounds 100] [--seed 0]``.

A real supervisor and a real client, the real worker with a stage that only counts (``chaos_worker.py``). At random moments
one of the two processes is killed, crashes or is stopped for 30 s, the disk is full for some seconds (only for root, who can
mount a small one), the newest checkpoint is torn, the journal damaged, the clock set. In the end every job must be done, as
if nothing had been. The client does what an artist would: it resumes what has failed and says that it can be resumed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from chaos_worker import CHECKPOINT_SECONDS, STEP_SECONDS, left_by
from fake_worker import SERVE

from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.messages import Error, JobList, JobState, Message, Result, Resume, Submit, Worker

HERE = Path(__file__).resolve().parent
WRONG_CLOCK = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from chaos_worker import shift_clock
shift_clock()
"""
DISK_MB = 48
OPEN_JOBS = 3
"""So many jobs wait or run at any moment."""
LONGEST_PEACE = 8.0
"""Seconds between two disasters, at most."""
THOUGHT_SECONDS = 1.0
"""Before an artist resumes a job."""
TRIES = 30
"""Of a disaster that can only happen to a job that runs."""
FULL_SECONDS = 4.0
END_SECONDS = 300.0
BETWEEN = math.ceil(CHECKPOINT_SECONDS / STEP_SECONDS) + 1
"""Steps between two checkpoints, at most."""
YEAR = 365 * 86400.0
NOTICED_SECONDS = 15.0
"""Within which the client is to be told of a worker that is no more, or hangs."""


class Chaos:
    """The backend, its client, and what may happen to them."""

    def __init__(self, folder: Path, disk: Path | None, seed: int, stopped: float) -> None:
        self.data, self.disk, self.stopped = (disk or folder) / "data", disk, stopped
        self.steps, self.clock, self.output = folder / "steps.txt", folder / "clock.txt", folder / "output.txt"
        self.clock.write_text("0")
        self.chance = random.Random(seed)
        self.seeds: dict[str, int] = {}
        self.states: dict[str, JobState] = {}
        self.results: dict[str, set[float]] = {}
        self.to_resume: dict[str, float] = {}
        self.worker = ""
        self.deaths_told = 0
        self.noticed: dict[str, list[float]] = {}
        self.helped: Counter[str] = Counter()
        self.serve()
        self.client = Client(local_target(self.data), "chaos", "1")
        self.until(lambda: self.client.state == "open", 60)

    # --- the backend and the artist ---

    def serve(self) -> None:
        environment = os.environ | {"CHAOS_STEPS": str(self.steps), "CHAOS_CLOCK": str(self.clock)}
        with self.output.open("ab") as output:
            worker = str(HERE / "chaos_worker.py")
            command = [sys.executable, "-c", WRONG_CLOCK + SERVE, worker, "serve", "--data", str(self.data)]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)

    def worker_pid(self) -> int | None:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Be an artist until something happens; whether it did in that time."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                return False
            for message, _ in self.client.receive():
                self.hear(message)
            for job in [job for job, due in self.to_resume.items() if time.monotonic() > due]:
                del self.to_resume[job]
                self.client.send(Resume(job))
            time.sleep(0.01)
        return True

    def rest(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def hear(self, message: Message) -> None:
        if isinstance(message, JobList):
            for job in message.jobs:
                self.hear(job)
        elif isinstance(message, JobState):
            self.states[message.job] = message
            if message.state == "failed" and message.error is not None and message.error.action == "resume":
                self.mend(message.job, message.error.sentence)
            elif message.state == "paused":
                self.mend(message.job, message.sentence)
        elif isinstance(message, Result):
            self.results.setdefault(message.job, set()).add(message.metrics["value"])
        elif isinstance(message, Worker):
            self.deaths_told += message.state in ("restarting", "failed") and self.worker not in (
                "restarting",
                "failed",
            )
            self.worker = message.state
        elif isinstance(message, Error) and message.code == "disk" and message.job not in self.states:
            self.seeds.pop(message.job or "", None)  # it was not accepted

    def mend(self, job: str, sentence: str) -> None:
        if job not in self.to_resume:
            self.to_resume[job] = time.monotonic() + THOUGHT_SECONDS
            self.helped[f"resumed after: {sentence}"] += 1

    @property
    def open_jobs(self) -> list[str]:
        return [job for job in self.seeds if job not in self.states or self.states[job].state != "done"]

    def submit(self) -> None:
        while len(self.open_jobs) < OPEN_JOBS or self.worker == "failed":
            job, seed = str(uuid.uuid4()), self.chance.randrange(1 << 30)
            self.seeds[job] = seed
            self.client.send(Submit(job, "a red mushroom", "draft", seed, until="coarse"))
            self.worker = ""

    # --- disasters ---

    def end_worker(self, how: signal.Signals) -> bool:
        """Send a signal to the worker, and wait until the client is told; False if there is none to send it to."""
        pid, starts = self.worker_pid(), self.worker not in ("ready", "busy")
        if pid is None or (how == signal.SIGSTOP and starts):  # whose first word is waited for longer
            return False
        told, began = self.deaths_told, time.monotonic()
        os.kill(pid, how)
        if starts:  # of which there is nothing new to tell
            return True
        self.until(lambda: self.deaths_told > told, 4 * NOTICED_SECONDS)
        self.noticed.setdefault(how.name, []).append(time.monotonic() - began)
        if how == signal.SIGSTOP:
            self.rest(self.stopped - (time.monotonic() - began))
        return True

    def tear_checkpoint(self) -> bool:
        """The newest of a job that has two; that it has is seen before and after its worker is killed."""
        if not self.two_checkpoints() or not self.end_worker(signal.SIGKILL):
            return False
        for newest in self.two_checkpoints():
            whole = newest.read_bytes()
            newest.write_bytes(whole[: self.chance.randrange(len(whole))])
            return True
        return False

    def two_checkpoints(self) -> list[Path]:
        newest = self.data.glob("jobs/*/object/checkpoint.pt")
        return [file for file in newest if file.with_name("checkpoint-before.pt").is_file()]

    def kill_supervisor(self, meanwhile: Callable[[], None] = lambda: None) -> bool:
        self.process.kill()
        self.process.wait()
        meanwhile()
        began = time.monotonic()
        self.serve()
        self.until(lambda: self.client.state != "open", 15)
        self.until(lambda: self.client.state == "open", 30)
        self.noticed.setdefault("a new supervisor", []).append(time.monotonic() - began)
        return True

    def stop_supervisor(self) -> bool:
        """Its worker must not be blamed for its own sleep."""
        pid = self.worker_pid()
        if pid is None or self.worker not in ("ready", "busy"):
            return False
        self.process.send_signal(signal.SIGSTOP)
        self.rest(self.stopped)
        self.process.send_signal(signal.SIGCONT)
        self.rest(2.0)
        assert self.worker_pid() == pid, "a worker was ended because the supervisor slept"
        return True

    def damage_journal(self) -> bool:
        def overwrite() -> None:
            for journal in (self.data / "jobs.sqlite3", self.data / "jobs.sqlite3-wal"):
                if journal.is_file():
                    size = journal.stat().st_size
                    with journal.open("rb+") as file:
                        file.seek(self.chance.randrange(size // 2 + 1))
                        file.write(os.urandom(size // 2))

        return self.kill_supervisor(overwrite)

    def fill_disk(self) -> bool:
        assert self.disk is not None
        filler = self.disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError:
            pass
        self.rest(FULL_SECONDS)
        filler.unlink()
        return True

    def set_clock(self) -> bool:
        self.clock.write_text(str(self.chance.uniform(-YEAR, YEAR)))
        return True

    def disasters(self) -> dict[str, tuple[int, Callable[[], bool]]]:
        """By name: of a hundred so many, and how."""
        found: dict[str, tuple[int, Callable[[], bool]]] = {
            "worker killed": (25, lambda: self.end_worker(signal.SIGKILL)),
            "supervisor killed": (25, self.kill_supervisor),
            "worker crashed": (8, lambda: self.end_worker(signal.SIGSEGV)),
            "worker stopped": (6, lambda: self.end_worker(signal.SIGSTOP)),
            "supervisor stopped": (6, self.stop_supervisor),
            "checkpoint torn": (10, self.tear_checkpoint),
            "journal damaged": (5, self.damage_journal),
            "clock set": (5, self.set_clock),
        }
        if self.disk is not None:
            found["disk full"] = (10, self.fill_disk)
        return found

    def run(self, rounds: int) -> Counter[str]:
        """Disaster upon disaster, then peace until all is done; returns how often there was which."""
        disasters, happened = self.disasters(), Counter[str]()
        shares = [share for share, _ in disasters.values()]
        names = [*disasters, *self.chance.choices(list(disasters), shares, k=max(rounds - len(disasters), 0))]
        self.chance.shuffle(names)
        for name in names[:rounds]:
            for _ in range(TRIES):
                self.submit()
                self.rest(self.chance.uniform(0.2, LONGEST_PEACE))
                if disasters[name][1]():
                    break
            else:
                _say(f"nothing happens any more, so that there is no {name}")
                return happened
            happened[name] += 1
            done = len(self.seeds) - len(self.open_jobs)
            _say(f"{sum(happened.values()):>3} {name}: {done} of {len(self.seeds)} jobs are done")
        began = time.monotonic()
        while self.open_jobs and time.monotonic() - began < END_SECONDS:
            self.rest(1.0)
            if self.worker == "failed":
                self.submit()
        self.until(lambda: self.results.keys() >= self.seeds.keys(), 30)
        return happened

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=60)


def claims(chaos: Chaos, torn: int) -> dict[str, bool]:
    """Say what the steps and the client's notes tell, and which claims hold; ``torn`` checkpoints were."""
    repeated, workers, values = [0], list[str](), dict[tuple[str, int], set[int]]()
    last: dict[str, int] = {}
    lines = [line.split() for line in chaos.steps.read_text().splitlines()]
    for job, worker, index, value in lines:
        step = int(index)
        values.setdefault((job, step), set()).add(int(value))
        if not workers or workers[-1] != worker:
            workers.append(worker)
        repeated.append(last.get(job, -1) + 1 - step)
        last[job] = step
    _say(f"{len(workers)} workers took {len(lines)} steps, after a disaster at most {max(repeated)} of them again")
    for what, seconds in chaos.noticed.items():
        _say(f"{what}: told after {np.median(seconds):.1f} s, at most {max(seconds):.1f}")
    for what, count in chaos.helped.items():
        _say(f"{count} x {what}")
    told = [took for name, seconds in chaos.noticed.items() if name.startswith("SIG") for took in seconds]
    return {
        "all jobs are done": not chaos.open_jobs,
        "all ended as if nothing had been": all(
            chaos.results.get(job) == {float(left_by(seed))} for job, seed in chaos.seeds.items()
        ),
        "a step taken twice gave the same": all(len(found) == 1 for found in values.values()),
        "no step was left out": min(repeated) >= 0,
        f"no more than {BETWEEN} steps were repeated at once": sum(count > BETWEEN for count in repeated) <= torn,
        "nor more than twice that after a torn checkpoint": max(repeated) <= 2 * BETWEEN,
        "never were there two workers at once": len(workers) == len(set(workers)),
        f"a worker's end was told within {NOTICED_SECONDS:.0f} s": max(told, default=0.0) < NOTICED_SECONDS,
    }


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of its own; None for who cannot mount one."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        _say("the disk is never full: only root can mount a small one")
        yield None
        return
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def run(folder: Path, rounds: int, seed: int, stopped: float) -> dict[str, bool]:
    """Do it, print figures, and return which claims hold."""
    with small_disk(folder) as disk:
        chaos = Chaos(folder, disk, seed, stopped)
        happened = chaos.run(rounds)
        chaos.close()
        _say(f"{rounds} disasters: {', '.join(f'{count} x {name}' for name, count in happened.items())}")
        found = claims(chaos, happened["checkpoint torn"])
    for claim, holds in found.items():
        _say(f"{'ok ' if holds else 'NO '} {claim}")
    return found


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stopped", type=float, default=30.0, help="seconds for which a stopped process stands still")
    parser.add_argument("--output", type=Path, help="an empty folder for what is written, which stays")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = run(asked.output or Path(temporary), asked.rounds, asked.seed, asked.stopped)
    sys.exit(0 if all(found.values()) else 1)


if __name__ == "__main__":
    main()
