"""Who gets in: clients with an enrolled key, and nobody else; what is malformed harms nobody."""

from __future__ import annotations

import os
import socket
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil
import pytest
import zmq
from serving import Backend, is_worker, posix, read_until, start_serving, wait_until

from dreamcraft3d.service import sockets
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.result import read_result, write_result
from dreamcraft3d.service.sockets import MAX_WAITING, STRUCK_SECONDS, Clients
from dreamcraft3d.service.supervisor import DESCRIPTORS
from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.client import Client, remote_target
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import (
    BACKEND_KINDS,
    Error,
    Hello,
    JobList,
    Jobs,
    Message,
    Ping,
    Preview,
    Refused,
    Shutdown,
    Welcome,
)

JOB = str(uuid.UUID(int=1))


@pytest.fixture
def here(backend: Backend) -> Connection:
    """Where the backend is."""
    backend.client()
    found = Connection.read(backend.data)
    assert found is not None
    return found


@pytest.fixture
def dealer() -> Iterator[Callable[..., Any]]:
    """A bare socket, for saying what no client would."""
    context = zmq.Context()

    def make(endpoint: str, server: bytes | None = None, pair: KeyPair | None = None, name: bytes = b"") -> Any:
        made = context.socket(zmq.DEALER)
        if name:
            made.setsockopt(zmq.IDENTITY, name)
        made.linger = 0
        if server is not None and pair is not None:
            made.curve_serverkey, made.curve_publickey, made.curve_secretkey = server, pair.public, pair.secret
        made.connect(endpoint)
        return made

    yield make
    context.destroy(linger=0)


def nothing_comes(asked: Any, seconds: float = 1.0) -> bool:
    for _ in range(3):
        asked.send_multipart(encode(Hello(*VERSION, "x", "1")))
        asked.send_multipart(encode(Jobs()))
    return asked.poll(int(seconds * 1000)) == 0


def test_without_a_key_there_is_no_answer(here: Connection, dealer: Callable[..., Any]) -> None:
    assert nothing_comes(dealer(here.endpoint))


def test_with_a_key_that_is_not_enrolled_there_is_no_answer(here: Connection, dealer: Callable[..., Any]) -> None:
    assert nothing_comes(dealer(here.endpoint, here.server_public_key.encode(), KeyPair(*zmq.curve_keypair())))


def test_an_enrolled_public_key_without_its_secret_is_of_no_use(
    backend: Backend, here: Connection, dealer: Callable[..., Any]
) -> None:
    stolen = keys_of(backend.data).client_pair().public
    pair = KeyPair(stolen, zmq.curve_keypair()[1])
    assert nothing_comes(dealer(here.endpoint, here.server_public_key.encode(), pair))


def test_plain_tcp_gets_nothing_but_a_greeting(here: Connection) -> None:
    host, port = here.endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=1) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        answer = b""
        try:
            while part := plain.recv(1000):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
    assert len(answer) <= 64  # ZeroMQ says who it is before it listens; no word of ours is in it
    assert b"presets" not in answer


def test_the_client_of_a_stranger_is_told_that_it_is_one_until_it_is_enrolled(
    backend: Backend, here: Connection
) -> None:
    pair = KeyPair(*zmq.curve_keypair())
    client = backend.client(remote_target(here.endpoint, here.server_public_key.encode(), pair), opened=False)
    wait_until(lambda: client.receive() is not None and client.state == "refused")
    assert "enrol" in client.sentence
    keys_of(backend.data).enrol(pair.public, "studio")
    client.reconnect()
    wait_until(lambda: client.receive() is not None and client.state == "open")

    client.send(Shutdown())
    error, _ = read_until(client, lambda m: isinstance(m, Error))[-1]
    assert isinstance(error, Error)
    assert error.code == "denied"

    (keys_of(backend.data).path / "clients" / "studio.key").unlink()
    client.reconnect()
    wait_until(lambda: client.receive() is not None and client.state == "refused")


def test_a_client_that_is_struck_while_it_is_connected_is_heard_no_longer(backend: Backend, here: Connection) -> None:
    pair = KeyPair(*zmq.curve_keypair())
    keys_of(backend.data).enrol(pair.public, "lodger")
    client = backend.client(remote_target(here.endpoint, here.server_public_key.encode(), pair))
    assert keys_of(backend.data).strike("lodger")
    wait_until(lambda: client.receive() is not None and client.state == "refused", 10)
    assert "does not know this key" in client.sentence


def test_who_takes_the_name_of_anothers_connection_is_not_taken_for_them(
    backend: Backend, here: Connection, dealer: Callable[..., Any]
) -> None:
    server, local = here.server_public_key.encode(), keys_of(backend.data).client_pair()
    guest = KeyPair(*zmq.curve_keypair())
    keys_of(backend.data).enrol(guest.public, "guest")
    first = dealer(here.endpoint, server, local, name=b"the same")
    first.send_multipart(encode(Hello(*VERSION, "bare", "1")))
    said(first, Welcome)
    first.close()
    answers: list[list[bytes]] = []

    def answered() -> bool:  # ZeroMQ drops who takes a name before it has noticed that the name is free
        second = dealer(here.endpoint, server, guest, name=b"the same")
        second.send_multipart(encode(Shutdown()))
        if second.poll(1000):
            answers.append(second.recv_multipart())
        second.close()
        return answers != []

    wait_until(answered, 30)
    refused, _ = decode(answers[0], BACKEND_KINDS)
    assert isinstance(refused, Refused)
    assert refused.code == "hello"
    assert backend.process.poll() is None


def greeted(backend: Backend, here: Connection, dealer: Callable[..., Any]) -> Any:
    """A bare socket whose handshake is done."""
    bare = dealer(here.endpoint, here.server_public_key.encode(), keys_of(backend.data).client_pair())
    bare.send_multipart(encode(Hello(*VERSION, "bare", "1")))
    said(bare, Welcome)
    return bare


def said(bare: Any, wanted: type[Message]) -> Any:
    """The next message of a kind."""
    while True:
        assert bare.poll(5000), f"no {wanted.__name__} came"
        message, _ = decode(bare.recv_multipart(), BACKEND_KINDS)
        if isinstance(message, wanted):
            return message


MESH_ARRAYS = (("vertices", "float32"), ("faces", "int32"))
MALFORMED: dict[str, list[bytes]] = {
    "noise": [os.urandom(100)],
    "nothing": [b""],
    "a pickle": [b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94."],
    "a message of the backend": [bytes(frame) for frame in encode(Error("x", "y"))],
    "a path for a job": [msgpack.packb({"kind": "attach", "job": "../../keys", "arrays": []})],
    "arrays nobody announced": [*map(bytes, encode(Ping())), b"x" * 1000],
    "a face that names no vertex": [
        msgpack.packb(
            {"kind": "submit", "job": JOB, "prompt": "a red car", "preset": "tiny", "seed": 0}
            | {"arrays": [{"name": n, "dtype": d, "shape": [1, 3]} for n, d in MESH_ARRAYS]}
        ),
        b"\0" * 12,
        b"\xff" * 12,
    ],
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_message_gets_an_error_and_harms_nothing(
    backend: Backend, here: Connection, dealer: Callable[..., Any], what: str
) -> None:
    bare = greeted(backend, here, dealer)
    bare.send_multipart(MALFORMED[what])
    error = said(bare, Error)
    assert error.code == "protocol"
    assert error.sentence.endswith(".")
    bare.send_multipart(encode(Jobs()))
    said(bare, JobList)


def test_who_does_not_say_hello_first_is_refused(
    backend: Backend, here: Connection, dealer: Callable[..., Any]
) -> None:
    bare = dealer(here.endpoint, here.server_public_key.encode(), keys_of(backend.data).client_pair())
    bare.send_multipart(encode(Jobs()))
    assert said(bare, Refused).code == "hello"


@pytest.mark.parametrize(
    ("major", "code", "mend"), [(VERSION[0] + 1, "version", "backend"), (VERSION[0] - 1, "client_version", "client")]
)
def test_another_major_version_is_refused_and_told_who_is_to_be_updated(
    backend: Backend, here: Connection, dealer: Callable[..., Any], major: int, code: str, mend: str
) -> None:
    bare = dealer(here.endpoint, here.server_public_key.encode(), keys_of(backend.data).client_pair())
    bare.send_multipart(encode(Hello(major, 0, "x", "1")))
    refused = said(bare, Refused)
    assert refused.code == code
    assert mend in refused.hint


def test_a_client_that_sends_noise_for_long_does_not_disturb_another(
    backend: Backend, here: Connection, dealer: Callable[..., Any]
) -> None:
    bare = greeted(backend, here, dealer)
    for _ in range(3 * MAX_WAITING):
        bare.send_multipart([b"noise"])
    client = backend.client()
    client.send(Jobs())
    read_until(client, lambda m: isinstance(m, JobList), seconds=10)
    assert client.state == "open"


# a slow client, in this process so that its queue can be looked at


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


@posix
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_backend_whose_descriptors_are_used_up_goes_on_and_lets_its_clients_in_when_it_has_some(
    backend: Backend, left: int
) -> None:
    client, process = backend.client(), psutil.Process(backend.process.pid)
    read_until(client, is_worker("ready"))
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    used = {int(descriptor.name) for descriptor in Path(f"/proc/{process.pid}/fd").iterdir()}
    free = sorted(set(range(len(used) + 10)) - used)
    process.rlimit(psutil.RLIMIT_NOFILE, (free[left], limits[1]))
    try:
        late = backend.client(opened=False)
        until = time.monotonic() + 3 * STRUCK_SECONDS
        while time.monotonic() < until:
            client.send(Jobs())
            late.receive()
            read_until(client, lambda m: isinstance(m, JobList), 20)
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limits)
    wait_until(lambda: late.receive() is not None and late.state == "open", 20)
    assert client.state == "open"


FEW = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1]));"
MAIN = "from dreamcraft3d.cli import main; main()"


@posix
def test_a_backend_takes_more_descriptors_than_a_shell_gives(tmp_path: Path) -> None:
    process = start_serving(tmp_path / "data", program=("-c", FEW + MAIN))
    try:
        wait_until((tmp_path / "data" / "connection.json").is_file)
        soft, hard = psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE)
        assert soft == min(DESCRIPTORS, hard)
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_the_worker_is_ready_only_when_it_can_work(backend: Backend) -> None:
    client: Client = backend.client()
    worker, _ = read_until(client, is_worker("ready"))[-1]
    assert worker.device in ("cpu", "cuda")  # type: ignore[attr-defined]
