"""Clients that are slow, silent or gone: what waits for them is bounded, and costs nobody else."""

from __future__ import annotations

import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from serving import said, wait_until

from dreamcraft3d.service import sockets
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.result import read_result, write_result
from dreamcraft3d.service.sockets import MAX_WAITING, Clients
from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.connection import keys_of
from dreamcraft3d_protocol.messages import (
    BACKEND_KINDS,
    Error,
    Hello,
    Jobs,
    Preview,
)

JOB = str(uuid.UUID(int=1))


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[tuple[Clients, Callable[..., Any]]]:
    """The backend's sockets without a backend, and a way to connect to them."""
    keys = keys_of(tmp_path)
    with zmq.Context() as context:
        gate = Gate(context)
        clients = Clients(context, gate, keys, 0)

        def connect(**options: int) -> Any:
            bare = context.socket(zmq.DEALER)
            bare.rcvhwm, bare.rcvbuf = 1, 1000
            for name, value in options.items():
                setattr(bare, name, value)
            pair = keys.client_pair()
            bare.curve_publickey, bare.curve_secretkey = pair.public, pair.secret
            bare.curve_serverkey = clients.public_key.encode()
            bare.connect(clients.endpoint)
            bare.send_multipart(encode(Hello(*VERSION, "slow", "1")))
            wait_until(lambda: list(clients.receive()) != [])
            return bare

        yield clients, connect
        gate.close()
        context.destroy(linger=0)


def test_a_client_that_does_not_read_costs_a_bounded_queue_and_nobodys_time(crowd: Any) -> None:
    clients, connect = crowd
    bare = connect()
    (session,) = clients.sessions.values()
    session.attached.add(JOB)
    arrays = {"picture": np.zeros((512, 512, 3), np.uint8)}
    longest = 0.0
    for i in range(300):
        started = time.perf_counter()
        clients.tell_attached(JOB, Preview(JOB, i, "reference", "picture", "", None), arrays)
        clients.flush()
        longest = max(longest, time.perf_counter() - started)
        assert len(session.mailbox) <= 1
    assert longest < 0.5
    assert len(session.mailbox) == 1
    numbers = []
    while not numbers or numbers[-1] < 299:
        clients.flush()
        assert bare.poll(5000)
        numbers.append(decode(bare.recv_multipart(), BACKEND_KINDS)[0].seq)  # type: ignore[attr-defined]
    assert numbers == sorted(numbers)
    assert len(numbers) < 100


def test_what_a_client_sends_faster_than_it_can_be_read_waits_with_the_client(crowd: Any) -> None:
    clients, connect = crowd
    bare = connect(sndhwm=1)
    sent = 0
    while sent < 200 and bare.poll(1000, zmq.POLLOUT):
        bare.send_multipart([bytes(1 << 20)])
        sent += 1
    assert sent < 50
    while sent:
        assert clients.socket.poll(5000)
        clients.socket.recv_multipart()
        sent -= 1


def test_results_wait_for_a_slow_client_on_the_disk_and_one_that_is_gone_from_there_costs_nothing_else(
    crowd: Any, tmp_path: Path
) -> None:
    clients, connect = crowd
    bare = connect()
    (session,) = clients.sessions.values()
    arrays = {"picture": np.zeros(1 << 20, np.uint8)}
    for number in range(30):
        (tmp_path / str(number)).mkdir()
        write_result(tmp_path / str(number), {"seconds": float(number)}, arrays)
    tracemalloc.start()
    for number in range(30):
        result = read_result(tmp_path / str(number), JOB)
        assert result is not None
        clients.tell(session, *result)
        clients.flush()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(session.mailbox) > 15
    assert held < 8 << 20, "what is handed to ZeroMQ, and the next"
    (tmp_path / "28" / "result.npz").unlink()
    heard = []
    while not heard or heard[-1] < 29:
        clients.flush()
        assert bare.poll(5000)
        message, received = decode(bare.recv_multipart(), BACKEND_KINDS)
        assert received["picture"].nbytes == 1 << 20
        heard.append(message.metrics["seconds"])  # type: ignore[attr-defined]
    assert heard == [float(number) for number in range(30) if number != 28]
    clients.flush()
    lost = said(bare, Error)
    assert (lost.code, lost.job) == ("lost", JOB)


def test_what_many_are_told_is_encoded_once(crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clients, connect = crowd
    several = [connect() for _ in range(5)]
    encoded = []
    monkeypatch.setattr("dreamcraft3d.service.sockets.encode", lambda *said: encoded.append(said[0]) or encode(*said))
    clients.tell_all(Error("x", "y"))
    clients.flush()
    assert len(encoded) == 1
    for bare in several:
        assert bare.poll(5000)
        assert decode(bare.recv_multipart(), BACKEND_KINDS)[0] == Error("x", "y")


def test_a_client_with_too_much_to_read_is_forgotten_and_may_come_back(crowd: Any) -> None:
    clients, connect = crowd
    bare = connect()
    (session,) = clients.sessions.values()
    for i in range(MAX_WAITING + 50):
        clients.tell(session, Error(str(i), "x"))
    assert clients.sessions == {}
    bare.send_multipart(encode(Hello(*VERSION, "slow", "1")))
    wait_until(lambda: list(clients.receive()) != [])
    assert len(clients.sessions) == 1


def test_a_client_that_left_is_forgotten(crowd: Any) -> None:
    clients, connect = crowd
    bare = connect()
    bare.close()
    (session,) = clients.sessions.values()

    def gone() -> bool:
        clients.tell(session, Error("x", "y"))
        clients.flush()
        return clients.sessions == {}

    wait_until(gone, 10)


def test_a_client_that_is_silent_for_long_is_heard_when_it_speaks_again_and_forgotten_when_it_leaves(
    crowd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "GONE_SECONDS", 0.1)
    clients, connect = crowd
    bare = connect()

    def looked_after() -> None:
        clients.look_after()
        clients.flush()

    for _ in range(30):
        time.sleep(0.02)
        looked_after()
    bare.send_multipart(encode(Jobs()))
    heard: list[Any] = []
    wait_until(lambda: heard.extend(clients.receive()) or heard != [], 20)  # type: ignore[func-returns-value]
    assert [message for _, message, _ in heard] == [Jobs()]
    bare.close()
    wait_until(lambda: looked_after() is None and clients.sessions == {}, 20)  # type: ignore[func-returns-value]


def test_a_client_that_neither_speaks_nor_reads_is_forgotten(crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "GONE_SECONDS", 0.1)
    clients, connect = crowd
    connect()
    (session,) = clients.sessions.values()

    clients.tell(session, Error("x", "which could not be sent"))
    time.sleep(0.2)
    clients.look_after()
    assert clients.sessions == {}
