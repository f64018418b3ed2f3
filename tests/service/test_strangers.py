"""Who connects and never says who they are is in the log, seldom enough; who said so is not."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from serving import wait_until

from dreamcraft3d.service import strangers
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.sockets import Clients
from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.client import Client, remote_target
from dreamcraft3d_protocol.connection import keys_of
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import Welcome

WELCOME = Welcome(*VERSION, "0.1.0", str(uuid.UUID(int=7)), ())
HTTP = b"GET / HTTP/1.1\r\n\r\n" * 10


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Clients]:
    """The backend's sockets without a backend."""
    with zmq.Context() as context:
        gate = Gate(context)
        yield Clients(context, gate, keys_of(tmp_path), 0)
        gate.close()
        context.destroy(linger=0)


def knock(clients: Clients, said: bytes = HTTP) -> tuple[str, int]:
    """Come from this address, say something, and stay until one is thrown out."""
    host, port = clients.endpoint.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        assert clients.strangers.socket.poll(5000)
        clients.look_after()
        plain.sendall(said)
        try:
            while plain.recv(1000):
                pass
        except ConnectionError:
            pass
        mine: tuple[str, int] = plain.getsockname()
        return mine


def comes_and_goes(clients: Clients, pair: KeyPair, seen: Callable[[Client], bool]) -> None:
    client = Client(remote_target(clients.endpoint, clients.public_key.encode(), pair), "test", "1")

    def done() -> bool:
        client.receive()
        heard = list(clients.receive())
        clients.look_after()
        return bool(heard) or seen(client)

    wait_until(done, 10)
    client.close()


def warnings(clients: Clients, caplog: pytest.LogCaptureFixture, seconds: float = 0.5) -> list[str]:
    """What is warned of by then."""
    while clients.strangers.socket.poll(int(1000 * seconds)):
        clients.look_after()
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_stranger_is_in_the_log_with_the_address_it_came_from(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = knock(clients)
    (warned,) = warnings(clients, caplog)
    assert warned == f"1 connections ended before they said who they are; the last came from {host}:{port}"


def test_of_many_strangers_the_log_has_the_first_and_then_their_number(
    clients: Clients, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        knock(clients)
    assert len(warnings(clients, caplog)) == 1
    monkeypatch.setattr(strangers.time, "monotonic", lambda: float("inf"))
    clients.strangers.tick()
    assert warnings(clients, caplog, 0)[-1].startswith("19 connections ended")


def test_of_very_many_strangers_those_who_came_first_are_shut_out_and_no_client_is(
    clients: Clients, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(strangers, "MAX_STRANGERS", 5)
    pair = keys_of(tmp_path).client_pair()
    client = Client(remote_target(clients.endpoint, clients.public_key.encode(), pair), "test", "1")
    wait_until(lambda: client.receive() == [] and list(clients.receive()) != [], 20)
    (session,) = clients.sessions.values()
    host, port = clients.endpoint.removeprefix("tcp://").split(":")
    came = []
    for _ in range(8):
        came.append(socket.create_connection((host, int(port)), timeout=20))
        assert clients.strangers.socket.poll(20_000)
        clients.look_after()
    for plain in came[:3]:
        while plain.recv(1000):
            pass
    clients.tell(session, WELCOME)
    assert not clients.flush()
    wait_until(lambda: client.receive() == [] or client.state == "open", 20)
    for plain in came[3:]:
        plain.setblocking(False)
        assert len(plain.recv(1000)) < 1000, "ZeroMQ's greeting"
        with pytest.raises(BlockingIOError):
            plain.recv(1000)
    for plain in came:
        plain.close()
    client.close()


def test_clients_that_leave_are_no_strangers_and_who_is_not_enrolled_is_named_once(
    clients: Clients, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    for _ in range(5):
        comes_and_goes(clients, keys_of(tmp_path).client_pair(), lambda client: False)
    assert warnings(clients, caplog) == []
    comes_and_goes(clients, KeyPair(*zmq.curve_keypair()), lambda client: client.state == "refused")
    (warned,) = warnings(clients, caplog)
    assert "not enrolled" in warned
    knock(clients)
    assert len(warnings(clients, caplog)) == 2
