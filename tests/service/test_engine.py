"""The worker's process under the engine: its key, its silence, its deaths; and what the desk makes of them."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from serving import TINY, children, posix, wait_until

from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service import engine
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.desk import MAX_ATTEMPTS, Desk
from dreamcraft3d.service.engine import LocalWorker
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order
from dreamcraft3d.service.sockets import Clients
from dreamcraft3d.service.store import Store
from dreamcraft3d.service.worker import NICENESS
from dreamcraft3d.service.worker_messages import Died, Done, Failed, Progress, Stopped
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.connection import keys_of
from dreamcraft3d_protocol.messages import Fault, Worker


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "tiny.toml").write_text(TINY.format(density_steps=2))
    return DataFolder(tmp_path)


@pytest.fixture
def gate() -> Iterator[tuple[zmq.Context, Gate]]:
    with zmq.Context() as context:
        gate = Gate(context)
        yield context, gate
        gate.close()
        context.destroy(linger=0)


def until(worker: LocalWorker, state: str, seconds: float = 60) -> list[Received]:
    happened: list[Received] = []

    def reached() -> bool:
        happened.extend(worker.tick())
        return worker.told.state == state

    wait_until(reached, seconds)
    return happened


@posix
def test_the_worker_lets_others_go_first_and_this_process_keeps_its_place(
    data: DataFolder, gate: tuple[zmq.Context, Gate]
) -> None:
    before, mine = set(children(os.getpid())), os.getpriority(os.PRIO_PROCESS, 0)
    worker = LocalWorker(*gate, data)
    until(worker, "ready")
    (process,) = set(children(os.getpid())) - before
    assert os.getpriority(os.PRIO_PROCESS, process) == mine + NICENESS
    autogroup = Path(f"/proc/{process}/autogroup")
    if autogroup.exists():
        assert autogroup.read_text().endswith(f" nice {NICENESS}\n")
        assert Path("/proc/self/autogroup").read_text() != autogroup.read_text()
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
    worker.close()


@posix
def test_a_worker_that_rests_is_no_process_and_comes_back_when_it_is_woken(
    data: DataFolder, gate: tuple[zmq.Context, Gate]
) -> None:
    before = set(children(os.getpid()))
    worker = LocalWorker(*gate, data)
    until(worker, "ready")
    worker.rest()
    assert set(children(os.getpid())) == before
    assert worker.tick() == []
    assert worker.told.state == "resting"
    assert worker.told.used_bytes == 0
    worker.wake()
    until(worker, "ready")
    worker.close()


@posix
def test_a_worker_says_how_much_memory_there_is_and_what_it_took(
    data: DataFolder, gate: tuple[zmq.Context, Gate]
) -> None:
    worker = LocalWorker(*gate, data)
    until(worker, "ready")
    wait_until(lambda: worker.tick() == [] and worker.told.used_bytes > 0, 10)
    told = worker.told
    assert 100 << 20 < told.used_bytes < told.memory_bytes
    assert 0 < told.free_bytes < told.memory_bytes
    assert (told.name == "") == (told.device == "cpu")
    worker.close()


@posix
def test_a_worker_that_falls_silent_is_killed_and_its_key_is_nowhere_to_be_read(
    data: DataFolder, gate: tuple[zmq.Context, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    real = zmq.curve_keypair

    def keypair() -> tuple[bytes, bytes]:
        pair = real()
        made.extend(pair)
        return pair

    monkeypatch.setattr(zmq, "curve_keypair", keypair)
    before = set(children(os.getpid()))
    worker = LocalWorker(*gate, data, silence=3.0)
    assert worker.told.state == "starting"
    until(worker, "ready")
    (pid,) = set(children(os.getpid())) - before
    seen = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert b"dreamcraft3d.service.worker" in seen
    assert len(made) == 4
    assert not any(key in seen for key in made)

    job = str(uuid.uuid4())
    worker._job = job  # as if it had one
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    happened = until(worker, "restarting", 10)
    assert time.monotonic() - stopped > 2
    assert [m for m, _ in happened] == [Died(job, "It gave no sign of life and was ended.")]
    assert not Path(f"/proc/{pid}").exists()
    worker.close()


def test_a_worker_that_never_starts_is_given_up_with_a_sentence_until_it_is_woken(
    data: DataFolder, gate: tuple[zmq.Context, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.sys, "executable", "/bin/false")
    monkeypatch.setattr(engine, "FIRST_BACK_OFF", 0.01)
    worker = LocalWorker(*gate, data)
    until(worker, "failed")
    assert "worker.out" in worker.told.sentence
    assert worker.tick() == []
    worker.wake()
    assert worker.told.state == "restarting"
    until(worker, "failed")
    worker.close()


# the desk, with an engine that does what a test says


class Scripted:
    """An engine without a process."""

    def __init__(self) -> None:
        self.state, self.runs, self.stops, self.socket = "ready", list[str](), list[str](), None
        self.rests = 0

    @property
    def told(self) -> Worker:
        return Worker(self.state, "cpu", "")  # type: ignore[arg-type]

    def tick(self) -> list[Received]:
        return []

    def run(self, job: str, advanced: tuple[str, ...]) -> None:
        self.runs.append(job)

    def advance(self, job: str, stage: str) -> None:
        pass

    def stop(self, job: str) -> None:
        self.stops.append(job)

    def rest(self) -> None:
        self.rests += 1

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


class Office:
    """A desk on a real journal, with a scripted engine; reopened as by the next supervisor."""

    def __init__(self, data: DataFolder, context: zmq.Context, gate: Gate) -> None:
        self.data, self.engine, self.store = data, Scripted(), Store(data.journal)
        self.clients = Clients(context, gate, keys_of(data.path), 0)
        self.desk = Desk(data, self.store, self.clients, self.engine)

    def queue(self, count: int) -> list[str]:
        """Journal some jobs, as an earlier supervisor did."""
        preset = load_preset("tiny", self.data.presets)
        order = Order(
            prompt="a red car", preset=preset, seed=0, first="coarse", until="texture", picture=None, mesh=None
        )
        jobs = [Job(str(uuid.uuid4()), f"job {i}", 100.0 - i, i + 1, order) for i in range(count)]
        for job in jobs:
            self.store.save(job)
        self.desk = Desk(self.data, self.store, self.clients, self.engine)
        return [job.id for job in jobs]

    def state(self, job: str) -> str:
        return self.kept(job).state

    def kept(self, job: str) -> Job:
        return next(kept for kept in self.store.load()[0] if kept.id == job)

    def tell(self, message: object) -> None:
        self.desk.happened((message, {}))  # type: ignore[arg-type]
        self.desk.begin_next()


@pytest.fixture
def office(data: DataFolder, gate: tuple[zmq.Context, Gate]) -> Iterator[Office]:
    office = Office(data, *gate)
    yield office
    office.store.close()
    office.clients.close()


def test_jobs_are_done_one_at_a_time_in_the_order_they_came(office: Office) -> None:
    jobs = office.queue(3)
    for _ in range(3):
        office.desk.begin_next()
    assert office.engine.runs == jobs[:1]
    for job in jobs:
        office.tell(Done(job, 1.0))
    assert office.engine.runs == jobs
    assert not office.desk.busy


def test_a_job_that_kills_its_worker_again_and_again_fails_and_the_next_has_its_turn(office: Office) -> None:
    first, second = office.queue(2)
    office.desk.begin_next()
    for _ in range(MAX_ATTEMPTS):
        assert office.engine.runs[-1] == first
        office.tell(Died(first, "It was ended by SIGSEGV."))
    assert office.state(first) == "failed"
    error = office.kept(first).error
    assert error is not None
    assert error.code == "worker"
    assert "SIGSEGV" in error.sentence
    assert office.engine.runs == [first] * MAX_ATTEMPTS + [second]


def test_a_job_that_makes_headway_between_deaths_goes_on(office: Office) -> None:
    (job,) = office.queue(1)
    run = office.data.job(job) / "object"
    run.mkdir(parents=True)
    office.desk.begin_next()
    for i in range(3 * MAX_ATTEMPTS):
        (run / "checkpoint.pt").write_text(str(i))
        os.utime(run / "checkpoint.pt", ns=(i, i))
        office.tell(Died(job, ""))
    assert office.state(job) == "running"


def test_a_job_whose_worker_dies_while_it_is_cancelled_is_cancelled(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    running = office.desk.running
    assert running is not None
    running.state = "cancelling"
    office.tell(Died(job, ""))
    assert office.state(job) == "cancelled"


def test_a_job_whose_worker_dies_while_it_is_paused_is_paused_and_keeps_its_place(office: Office) -> None:
    first, second = office.queue(2)
    office.desk.begin_next()
    running = office.desk.running
    assert running is not None
    running.state = "pausing"
    office.tell(Died(first, ""))
    assert (office.state(first), office.kept(first).position) == ("paused", 1)
    assert office.engine.runs == [first, second]


def test_the_engine_rests_when_only_paused_jobs_are_left(office: Office) -> None:
    first, second = office.queue(2)
    office.desk.begin_next()
    running = office.desk.running
    assert running is not None
    running.state = "pausing"
    office.tell(Stopped(first, 1.0))
    assert (office.engine.runs, office.engine.rests) == ([first, second], 0)
    office.tell(Done(second, 1.0))
    assert office.engine.rests == 1


def test_time_adds_up_over_attempts(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    office.tell(Progress(job, "coarse", 1, 4, 10.0, None, ""))
    office.tell(Died(job, ""))
    office.tell(Progress(job, "coarse", 1, 4, 5.0, None, ""))
    office.tell(Done(job, 7.0))
    assert office.kept(job).seconds == 17.0


def test_what_ran_when_a_supervisor_died_is_first_in_line_for_the_next(office: Office) -> None:
    jobs = office.queue(2)
    office.desk.begin_next()
    office.tell(Progress(jobs[0], "coarse", 1, 4, 10.0, None, ""))
    next_desk = Desk(office.data, office.store, office.clients, office.engine)
    next_desk.begin_next()
    assert office.engine.runs == [jobs[0], jobs[0]]


def test_a_stop_that_nobody_asked_for_leaves_the_job_in_line(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    office.engine.state = "busy"
    office.tell(Stopped(job, 1.0))
    assert office.state(job) == "queued"


def test_a_failure_is_kept_with_its_mend(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    fault = Fault("user", "It is wrong.", "Do it right.", "edit")
    office.tell(Failed(job, 1.0, fault))
    assert office.kept(job).error == fault


def test_a_job_of_another_version_is_left_alone(office: Office) -> None:
    good, odd = office.queue(2)
    office.store._execute("UPDATE jobs SET request = '{}' WHERE id = :id", {"id": odd})
    jobs, unread = office.store.load()
    assert ([job.id for job in jobs], unread) == ([good], [odd])
