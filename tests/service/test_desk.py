"""What the desk makes of what clients ask and the engine tells, with an engine that does what a test says."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from typing import Literal

import pytest
import zmq

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service import desk, register
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.desk import MAX_ATTEMPTS, Desk
from dreamcraft3d.service.folder import DISK_FULL, DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order
from dreamcraft3d.service.recovery import FOUND
from dreamcraft3d.service.register import Register
from dreamcraft3d.service.retention import Limits
from dreamcraft3d.service.sockets import Clients, Session
from dreamcraft3d.service.store import Store
from dreamcraft3d.service.worker_messages import Died, Done, Failed, Progress, Stopped
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.connection import keys_of
from dreamcraft3d_protocol.messages import Advance, Attach, Fault, Resume, Submit, Worker


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

    def run(self, job: str, begun: int, advanced: tuple[str, ...]) -> None:
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
        self.open()

    def open(self) -> None:
        self.register = Register(self.data, self.store, self.clients.tell_all)
        self.desk = Desk(self.data, self.register, self.clients, self.engine)

    def queue(self, count: int) -> list[str]:
        """Journal some jobs, as an earlier supervisor did."""
        preset = load_preset("tiny", self.data.presets)
        order = Order(
            prompt="a red car", preset=preset, seed=0, first="coarse", until="texture", picture=None, mesh=None
        )
        jobs = [Job(str(uuid.uuid4()), f"job {i}", 100.0 - i, i + 1, order) for i in range(count)]
        for job in jobs:
            self.store.save(job)
        self.open()
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


def test_what_the_disk_would_not_have_is_kept_as_soon_as_it_will(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    keep = office.store.save
    monkeypatch.setattr(office.store, "save", lambda job: (_ for _ in ()).throw(UserError("The disk is full.")))
    office.tell(Done(job, 1.0))
    assert office.state(job) == "running"
    office.register.save_again()  # it is too soon
    monkeypatch.setattr(office.store, "save", keep)
    office.register.save_again()
    assert office.state(job) == "running"
    monkeypatch.setattr(register, "SAVE_SECONDS", 0.0)
    office.register.save_again()
    assert office.state(job) == "done"


def test_a_job_that_the_disk_would_not_have_waits_for_room(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = office.queue(1)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(office.register, "write_order", lambda job: (_ for _ in ()).throw(full))
    office.desk.begin_next()
    assert (office.state(job), office.engine.runs) == ("queued", [])
    assert office.kept(job).sentence == f"{DISK_FULL} {desk.WAITS}"
    monkeypatch.undo()
    office.desk.begin_next()
    assert office.engine.runs == []  # it is too soon
    office.desk._begin_at = 0.0
    office.desk.begin_next()
    assert (office.state(job), office.engine.runs) == ("running", [job])
    assert office.kept(job).sentence == ""


def full_disk(job: str) -> Failed:
    return Failed(job, 1.0, Fault("disk", DISK_FULL, "Free some space there.", ""))


def test_a_job_that_fills_the_disk_waits_for_room_longer_each_time(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    for number, seconds in enumerate((5, 10, 20, 40, 60, 60), 1):
        office.tell(full_disk(job))
        assert (office.state(job), len(office.engine.runs)) == ("queued", number)
        assert office.kept(job).sentence == f"{DISK_FULL} {desk.WAITS}"
        assert office.desk._begin_at == pytest.approx(time.monotonic() + seconds, abs=2)
        office.desk._begin_at = 0.0
        office.desk.begin_next()
    office.tell(Done(job, 1.0))
    assert (office.state(job), office.kept(job).sentence) == ("done", "")


def test_a_full_disk_is_not_in_the_way_of_who_pauses_or_cancels(office: Office) -> None:
    for how, state in (("pause", "paused"), ("cancel", "cancelled")):
        (job,) = office.queue(1)
        office.desk.begin_next()
        office.desk._stop(office.register.find(job), how)  # type: ignore[arg-type]
        office.tell(full_disk(job))
        assert (office.state(job), office.kept(job).sentence) == (state, DISK_FULL)
        office.register.delete(office.register.find(job))


def test_a_bug_in_hearing_the_worker_costs_nobody_else(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = office.queue(2)
    office.desk.begin_next()
    monkeypatch.setattr(desk, "made_by", lambda run: 1 / 0)
    office.tell(Progress(first, "coarse", 1, 2, 1.0, None, ""))
    monkeypatch.undo()
    office.tell(Done(first, 1.0))
    assert office.engine.runs == [first, second]


def test_a_job_whose_checkpoints_cannot_be_looked_at_is_tried_again_too(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    run = office.register.run_of(office.register.find(job))
    run.mkdir(parents=True)
    (run / "checkpoint.pt").write_bytes(b"")
    broken = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(type(run), "stat", lambda *_, **__: (_ for _ in ()).throw(broken))
    office.desk.happened((Died(job, "It was ended by SIGBUS."), {}))
    monkeypatch.undo()
    assert office.state(job) == "queued"


def test_a_done_job_whose_result_is_gone_can_be_resumed(office: Office) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    office.tell(Done(job, 1.0))
    session = Session(b"", b"", "artist", True, 1, 0.0)
    office.desk.asked(session, Attach(job), {})
    error = office.kept(job).error
    assert office.state(job) == "failed"
    assert error is not None
    assert (error.code, error.action) == ("lost", "resume")
    office.desk.asked(session, Resume(job), {})
    office.desk.begin_next()
    assert (office.engine.runs, office.kept(job).error) == ([job, job], None)


def test_a_job_that_only_its_folder_knew_goes_on_when_its_client_asks_again(office: Office) -> None:
    found, rests = office.queue(2)
    for job, sentence in ((found, FOUND), (rests, "")):
        known = office.register.find(job)
        known.state, known.sentence = "paused", sentence
        office.desk.asked(Session(b"", b"", "artist", True, 1, 0.0), Submit(job, "a red car", "tiny", 0), {})
    goes_on = office.register.find(found)
    assert (goes_on.state, goes_on.sentence) == ("queued", "")
    assert office.register.find(rests).state == "paused"


def test_a_stage_that_is_ended_early_is_in_the_journal_before_the_worker_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = office.queue(1)
    office.desk.begin_next()
    office.tell(Progress(job, "coarse", 1, 4, 10.0, None, ""))
    kept: list[tuple[str, ...]] = []
    monkeypatch.setattr(office.engine, "advance", lambda job, stage: kept.append(office.kept(job).advanced))
    for _ in range(2):
        office.desk.asked(Session(b"", b"", "artist", True, 1, 0.0), Advance(job, "coarse"), {})
    assert kept == [("coarse",)]


def test_what_cannot_be_deleted_is_no_matter_for_the_rest(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    newer, older = office.queue(2)
    for job in (newer, older):
        office.register.find(job).state = "cancelled"
    delete = office.register.delete

    def not_the_older(job: Job) -> None:
        if job.id == older:
            raise OSError(errno.EROFS, "Read-only file system")
        delete(job)

    monkeypatch.setattr(office.register, "delete", not_the_older)
    office.desk.tidy(Limits(days=1.0))
    assert list(office.register.jobs) == [older]


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


def begun(office: Office, count: int, state: Literal["cancelling", "pausing"]) -> list[str]:
    """Jobs in the queue, of which the first is at work, and in this state."""
    jobs = office.queue(count)
    office.desk.begin_next()
    running = office.register.running
    assert running is not None
    running.state = state
    return jobs


def test_a_job_whose_worker_dies_while_it_is_cancelled_is_cancelled(office: Office) -> None:
    (job,) = begun(office, 1, "cancelling")
    office.tell(Died(job, ""))
    assert office.state(job) == "cancelled"


def test_a_job_whose_worker_dies_while_it_is_paused_is_paused_and_keeps_its_place(office: Office) -> None:
    first, second = begun(office, 2, "pausing")
    office.tell(Died(first, ""))
    assert (office.state(first), office.kept(first).position) == ("paused", 1)
    assert office.engine.runs == [first, second]


def test_the_engine_rests_when_only_paused_jobs_are_left(office: Office) -> None:
    first, second = begun(office, 2, "pausing")
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
    office.open()
    office.desk.begin_next()
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
