"""The worker's process under the engine: its key, its silence, its deaths."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import zmq
from serving import children, posix, wait_until

from dreamcraft3d.service import engine
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.engine import STARTS_BEFORE_FAILED, LocalWorker
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.worker import NICENESS
from dreamcraft3d.service.worker_messages import Died
from dreamcraft3d_protocol.codec import Received


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
    worker = LocalWorker(*gate, data, hung=3.0)
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


@posix
@pytest.mark.parametrize("announced", [2**33, 2**20])
def test_a_stranger_at_the_workers_socket_who_announces_much_and_sends_it_slowly_is_thrown_out(
    data: DataFolder, gate: tuple[zmq.Context, Gate], announced: int
) -> None:
    worker = LocalWorker(*gate, data)
    worker.tick()
    assert worker.socket is not None
    host, port = worker.socket.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as stranger:
        curve = b"\xff" + bytes(8) + b"\x7f\x03\x01CURVE" + bytes(47)
        stranger.sendall(curve + b"\x06" + announced.to_bytes(8))

        def thrown_out() -> bool:
            try:
                stranger.sendall(bytes(10))
            except ConnectionError:
                return True
            return False

        wait_until(thrown_out, 20)
    until(worker, "ready")
    worker.close()


@posix
def test_a_stopped_worker_of_a_supervisor_that_is_no_more_is_ended(
    data: DataFolder, gate: tuple[zmq.Context, Gate]
) -> None:
    program = ("-c", "import time; time.sleep(60)", "-m", "dreamcraft3d.service.worker")
    alike = [subprocess.Popen([sys.executable, *program, path]) for path in (str(data.path), str(data.path / "other"))]
    orphan, other = alike
    orphan.send_signal(signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "PROGRAM", program)
        LocalWorker(*gate, data)
    orphan.wait(5)
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_worker_that_never_starts_is_given_up_with_a_sentence_and_tried_now_and_then_or_when_it_is_woken(
    data: DataFolder, gate: tuple[zmq.Context, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        started.append(time.monotonic())
        return popen(["/bin/false"], **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(engine.subprocess, "Popen", start)
    monkeypatch.setattr(engine, "FIRST_BACK_OFF", 0.01)
    monkeypatch.setattr(engine, "FAILED_BACK_OFF", 1.0)
    worker = LocalWorker(*gate, data)
    until(worker, "failed")
    assert "worker.out" in worker.told.sentence
    assert len(started) == STARTS_BEFORE_FAILED
    wait_until(lambda: worker.tick() == [] and len(started) == STARTS_BEFORE_FAILED + 1, 5)
    assert started[-1] - started[-2] > 1.0
    assert worker.told.state == "failed"
    worker.wake()
    assert worker.told.state == "restarting"
    until(worker, "failed")
    worker.close()
