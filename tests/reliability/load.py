"""The supervisor under load: ``python tests/reliability/load.py [--jobs 1000] [--clients 50] [--minutes 15]``.

A real supervisor, a worker that computes nothing (``load_worker.py``), a queue of jobs and a crowd of clients, after a while
also one client that is slow and one that is stopped (SIGSTOP). It prints figures; its status is 1 where a claim fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from fake_worker import SERVE

from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.messages import JobList, Jobs, JobState, Message, Move, Preview, Submit

HERE = Path(__file__).resolve().parent
VIEWERS = 4
SLOW_SECONDS = 3.0
STOPPED_SECONDS, AWAKE_SECONDS = 80.0, 4.0
"""For so long a stopped client stands still, and is awake between: it may be forgotten meanwhile, and says hello again."""
PROBE_SECONDS = 0.25
REST_MB, LOAD_MB = 80.0, 100.0
"""Of the supervisor with nothing to do, and under load: then there are the jobs, the newest preview of the running one, what
waits for the stopped client, ZeroMQ's buffers for each connection, and more pages of libraries."""
CONTROL_SECONDS, PREVIEW_SECONDS = 0.25, 1.0
"""What 99 of 100 answers and previews may take, beside a machine's other work."""
ANSWER_SECONDS = 10.0
"""After which an answer is not waited for."""
PACE = 0.05
"""By what share a job may take longer with a slow and a stopped client, beside noise."""


@dataclass
class Seen:
    """What the measuring client saw.

    Attributes:
        previews: seconds from the worker to here.
        answers: seconds of a round trip, by what was asked.
        took: seconds of each job that was done, in turn.
        memory: (seconds since the start, MB) of the supervisor.
    """

    previews: list[float] = field(default_factory=list)
    answers: dict[str, list[float]] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def note(self, message: Message) -> None:
        if isinstance(message, Preview):
            self.previews.append(time.monotonic() - float(message.caption))
        elif isinstance(message, JobState):
            if message.state == "done" and self.states.get(message.job) != "done":
                self.took.append(message.seconds)
            self.states[message.job] = message.state


class Load:
    """The backend, and all that press on it."""

    def __init__(self, folder: Path, job_seconds: float) -> None:
        self.data = folder / "data"
        environment = os.environ | {"LOAD_JOB_SECONDS": str(job_seconds)}
        with (folder / "output.txt").open("wb") as output:
            program = ["-c", SERVE, str(HERE / "load_worker.py"), "serve", "--data", str(self.data)]
            self.process = subprocess.Popen([sys.executable, *program], stdout=output, stderr=output, env=environment)
        self.memory = psutil.Process(self.process.pid)
        self.others: list[subprocess.Popen[str]] = []
        self.seen = Seen()
        self.client = Client(local_target(self.data), "measure", "1")
        self.wait(lambda message: self.client.state == "open", 60)

    def rss(self) -> float:
        """MB."""
        return self.memory.memory_info().rss / 1e6

    def has_torch(self) -> bool:
        return any("torch" in mapped.path for mapped in self.memory.memory_maps())

    def wait(self, wanted: Callable[[Message], bool], seconds: float) -> bool:
        def looked_at(message: Message) -> bool:
            self.seen.note(message)
            return wanted(message)

        return self.client.wait_for(looked_at, seconds) is not None

    def rest(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.wait(lambda message: False, min(1.0, max(deadline - time.monotonic(), 0.0)))

    def crowd(self, clients: int, viewers: int, pause: float) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "crowd.py"), str(self.data), str(clients), str(viewers), str(pause)]
        crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.others.append(crowd)
        return crowd

    def submit(self, count: int) -> float:
        """Queue jobs; returns the seconds until the last was answered."""
        began = time.monotonic()
        jobs = [str(uuid.uuid4()) for _ in range(count)]
        for at, job in enumerate(jobs):
            self.client.send(Submit(job, "a red mushroom", "draft", at, name=f"job {at}"))
            if at % 20 == 0:
                self.wait(lambda message: False, 0.0)
        while not all(job in self.seen.states for job in jobs):
            assert time.monotonic() - began < 300, "the jobs are not answered"
            self.wait(lambda message: False, 0.05)
        return time.monotonic() - began

    def ask(self, what: str) -> None:
        """A round trip."""
        asked: Message
        if what == "ask":
            before = float(len(self.seen.answers.get(what, [])) + 1)
            asked, wanted = Jobs(before), lambda m: isinstance(m, JobList) and m.before == before
        elif what == "list":
            asked, wanted = Jobs(), lambda m: isinstance(m, JobList) and m.before is None
        else:
            job = next(reversed([job for job, state in self.seen.states.items() if state == "queued"]))
            asked, wanted = Move(job, "up"), lambda m: isinstance(m, JobState) and m.job == job
        began = time.monotonic()
        self.client.send(asked)
        answered = self.wait(wanted, ANSWER_SECONDS)
        self.seen.answers.setdefault(what, []).append(time.monotonic() - began if answered else ANSWER_SECONDS)

    def press(self, seconds: float, stopped: subprocess.Popen[str] | None) -> None:
        """Ask now and then for so long, while the clock of a stopped client goes on."""
        began = time.monotonic()
        turn = 0
        while (now := time.monotonic() - began) < seconds:
            if stopped is not None:
                asleep = now % (STOPPED_SECONDS + AWAKE_SECONDS) < STOPPED_SECONDS
                stopped.send_signal(signal.SIGSTOP if asleep else signal.SIGCONT)
            self.ask(("ask", "ask", "ask", "list", "move")[turn % 5])
            if turn % 4 == 0:
                self.seen.memory.append((time.monotonic(), self.rss()))
            turn += 1
            self.rest(PROBE_SECONDS)

    def close(self) -> list[dict[str, int]]:
        """End everybody; returns what the crowds say."""
        said = []
        for other in self.others:
            other.send_signal(signal.SIGCONT)
            said.append(json.loads(other.communicate(timeout=60)[0]))
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=60)
        return said


def slope(samples: list[tuple[float, float]]) -> tuple[float, float, list[float]]:
    """Of memory over time, and its standard error, MB an hour; and the means that it was fitted to.

    They are of whole cycles of the stopped client, whose mail comes and goes, without the first, in which memory fills; of
    sixths of the time where there are few cycles.
    """
    times, memory = np.array(samples).T
    span = times[-1] - times[0]
    cycle = STOPPED_SECONDS + AWAKE_SECONDS
    period = cycle if span > 5 * cycle else span / 6
    numbers = (times - times[0]) // period
    whole = range(1, int(span // period))
    hours = np.array([times[numbers == number].mean() for number in whole]) / 3600
    means = np.array([memory[numbers == number].mean() for number in whole])
    centred = hours - hours.mean()
    rise = float((centred * means).sum() / (centred**2).sum())
    rest = means - means.mean() - rise * centred
    return rise, float(np.sqrt((rest**2).sum() / (len(means) - 2) / (centred**2).sum())), means.tolist()


Claims = dict[str, bool]
"""Whether each holds."""


def run(folder: Path, jobs: int, clients: int, minutes: float, job_seconds: float) -> tuple[Claims, Claims]:
    """Press, print figures, and return what is claimed: of any machine, and of one that is quiet for many minutes."""
    load = Load(folder, job_seconds)
    seen = load.seen
    at_rest = load.rss()
    load.crowd(clients - 3, VIEWERS, 0.02)
    seconds = load.submit(jobs)
    queued = load.rss()
    _say(f"{jobs} jobs are queued for {clients} clients in {seconds:.1f} s ({1000 * seconds / jobs:.1f} ms each)")

    seen.previews.clear()  # the measuring client had its hands full
    load.press(minutes * 60 / 4, None)
    without = list(seen.took)
    seen.took.clear()
    load.crowd(1, 1, SLOW_SECONDS)
    stopped = load.crowd(1, 1, 0.02)
    load.rest(2.0)  # in which it connects
    seen.memory.clear()
    load.press(minutes * 60 * 3 / 4, stopped)
    with_both, torch, now = list(seen.took), load.has_torch(), load.rss()
    own = load.memory.memory_full_info().uss / 1e6
    said = load.close()

    claims = {"every question is answered": all(max(took) < ANSWER_SECONDS for took in seen.answers.values())}
    quiet = {}
    for what, took in (*sorted(seen.answers.items()), ("preview", seen.previews)):
        p50, p99 = np.percentile(took, (50, 99))
        limit = PREVIEW_SECONDS if what == "preview" else CONTROL_SECONDS
        quiet[f"{what} within {limit} s"] = bool(p99 < limit)
        _say(f"{what}: p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, of {len(took)}")
    rise, error, means = slope(seen.memory)
    most, span = max(memory for _, memory in seen.memory), seen.memory[-1][0] - seen.memory[0][0]
    _say(f"memory: {at_rest:.1f} MB at rest, {queued:.1f} with the queue, {most:.1f} at most, {now:.1f} at the end")
    _say(f"of which {own:.1f} MB are its own, and the rest libraries' that all programs share")
    _say(f"memory's slope: {rise:.2f} +- {error:.2f} MB an hour over {span / 60:.1f} minutes")
    _say("of means over cycles of the stopped client: " + ", ".join(f"{mean:.1f}" for mean in means))
    quiet["memory grows not beyond noise"] = rise < 3 * error or rise * span / 3600 < 0.5
    claims[f"memory at rest below {REST_MB:.0f} MB"] = at_rest < REST_MB
    claims[f"memory under load below {LOAD_MB:.0f} MB"] = most < LOAD_MB
    claims["no torch"] = not torch
    one, other = np.mean(without), np.mean(with_both)
    doubt = np.hypot(*(np.std(took) / len(took) ** 0.5 for took in (without, with_both)))
    counted = f"({len(without)} and {len(with_both)} jobs)"
    _say(f"a job takes {one:.3f} s, and {other:.3f} +- {doubt:.3f} s with a slow and a stopped client {counted}")
    quiet["a slow and a stopped client slow no job"] = bool(other < one * (1 + PACE) + 3 * doubt)
    _say(f"the crowd: {said[0]}; the slow client: {said[1]}; the stopped one: {said[2]}")
    claims["nobody that reads is forgotten"] = said[0]["anew"] == 0
    for claim, holds in (claims | quiet).items():
        _say(f"{'ok ' if holds else 'NO '} {claim}")
    return claims, quiet


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--job-seconds", type=float, default=5.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        claims, quiet = run(Path(folder), asked.jobs, asked.clients, asked.minutes, asked.job_seconds)
    sys.exit(0 if all((claims | quiet).values()) else 1)


if __name__ == "__main__":
    main()
