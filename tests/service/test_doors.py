"""Who gets in: clients with an enrolled key, and nobody else; what is malformed harms nobody."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq
from serving import Backend, is_worker, posix, read_until, said, start_serving, wait_until

from dreamcraft3d.service.sockets import MAX_WAITING, STRUCK_SECONDS
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
    Ping,
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
