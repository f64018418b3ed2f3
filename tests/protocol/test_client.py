"""The client against a small backend with real CURVE sockets: handshake, refusals, heartbeats, reconnecting."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator

from dreamcraft3d_protocol import VERSION, client
from dreamcraft3d_protocol.client import Client, local_target, remote_target
from dreamcraft3d_protocol.codec import Received, decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import (
    CLIENT_KINDS,
    Attach,
    Cancel,
    Error,
    Hello,
    Jobs,
    JobState,
    Message,
    Ping,
    Pong,
    Preview,
    Refused,
    Submit,
    Welcome,
)

JOB = str(uuid.UUID(int=1))
SUBMIT = Submit(JOB, "a red mushroom", "draft", 0)
WELCOME = Welcome(*VERSION, "0.1.0", str(uuid.UUID(int=7)), ())
STATE = JobState(JOB, "", "", "draft", 0, "queued", "", 0, 4, 0, 0, 0.0, None, "", None, 0.0)
COLOURS = {"colours": np.zeros((3, 3), np.float32)}
MESH = COLOURS | {"vertices": np.zeros((3, 3), np.float32), "faces": np.array([[0, 1, 2]], np.int32)}


class SmallBackend:
    """A ROUTER with CURVE and a list of keys, which does what a test tells it to."""

    def __init__(self, data: Path) -> None:
        keys = keys_of(data)
        pair = keys.server_pair()
        keys.client_pair()
        self.data, self.heard = data, list[Message]()
        self.context = zmq.Context()
        self.authenticator = ThreadAuthenticator(self.context)
        self.authenticator.start()
        self.authenticator.configure_curve(domain="*", location=str(keys.path / "clients"))
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = pair.public, pair.secret
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.connection = Connection(f"tcp://127.0.0.1:{port}", pair.public.decode(), 1, *VERSION, "0.1.0")
        self.connection.publish(data)
        self.who = b""

    def listen(self) -> list[Message]:
        """What came since the last call; all of it but pings is kept in ``heard``."""
        came: list[Message] = []
        while self.socket.poll(0):
            self.who, *frames = self.socket.recv_multipart()
            came.append(decode(frames, CLIENT_KINDS)[0])
        self.heard += [message for message in came if not isinstance(message, Ping)]
        return came

    def say(self, *messages: Message | Received) -> None:
        for message in messages:
            frames = encode(*message) if isinstance(message, tuple) else encode(message)
            self.socket.send_multipart([self.who, *frames])

    def close(self) -> None:
        self.authenticator.stop()
        self.context.destroy(linger=0)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SmallBackend]:
    backend = SmallBackend(tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def make_client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(target: client.Target) -> Client:
        made.append(Client(target, "test", "1"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def talker(backend: SmallBackend, make_client: Callable[..., Client]) -> Client:
    """A client whose connection is open."""
    talker: Client = make_client(local_target(backend.data))
    open_(talker, backend)
    return talker


def until(happened: Callable[[], bool], *clients: Client) -> list[Received]:
    """Let clients work until something has happened; returns what they received."""
    came: list[Received] = []
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, [(c.state, c.sentence) for c in clients]
        for one in clients:
            came += one.receive()
        time.sleep(0.002)
    return came


def open_(talker: Client, backend: SmallBackend) -> None:
    until(lambda: any(isinstance(m, Hello) for m in backend.listen()), talker)
    backend.say(WELCOME)
    until(lambda: talker.state == "open", talker)


def test_a_handshake_opens_the_connection(backend: SmallBackend, talker: Client) -> None:
    assert backend.heard == [Hello(*VERSION, "test", "1")]
    assert talker.welcome == WELCOME
    assert talker.sentence == ""


def test_what_is_said_before_the_handshake_waits_for_it(
    backend: SmallBackend, make_client: Callable[..., Client]
) -> None:
    talker = make_client(local_target(backend.data))
    talker.send(Jobs())
    open_(talker, backend)
    until(lambda: Jobs() in backend.listen(), talker)
    assert [type(m) for m in backend.heard] == [Hello, Jobs]


def test_without_a_backend_the_client_says_so_and_finds_one_that_starts_later(
    tmp_path: Path, make_client: Callable[..., Client]
) -> None:
    talker = make_client(local_target(tmp_path))
    assert talker.receive() == []
    assert (talker.state, talker.sentence) == ("connecting", "The backend is not running.")
    backend = SmallBackend(tmp_path)
    open_(talker, backend)
    backend.close()


def test_a_stale_connection_file_is_a_sentence(tmp_path: Path, make_client: Callable[..., Client]) -> None:
    backend = SmallBackend(tmp_path)
    backend.close()
    talker = make_client(local_target(tmp_path))
    until(lambda: "Nobody listens" in talker.sentence, talker)
    assert talker.state == "connecting"


def test_a_broken_connection_file_is_a_sentence(tmp_path: Path, make_client: Callable[..., Client]) -> None:
    (tmp_path / "connection.json").write_text("{")
    talker = make_client(local_target(tmp_path))
    talker.receive()
    assert "start it again" in talker.sentence


def test_a_key_that_is_not_enrolled_is_refused_until_it_is(
    backend: SmallBackend, make_client: Callable[..., Client]
) -> None:
    pair = KeyPair(*zmq.curve_keypair())
    here = backend.connection
    talker = make_client(remote_target(here.endpoint, here.server_public_key.encode(), pair))
    until(lambda: talker.state == "refused", talker)
    assert "enrol" in talker.sentence
    assert backend.listen() == []
    keys_of(backend.data).enrol(pair.public, "studio")
    backend.authenticator.configure_curve(domain="*", location=str(keys_of(backend.data).path / "clients"))
    talker.reconnect()
    open_(talker, backend)


def test_a_backend_with_another_key_is_not_talked_to(backend: SmallBackend, make_client: Callable[..., Client]) -> None:
    pair = keys_of(backend.data).client_pair()
    talker = make_client(remote_target(backend.connection.endpoint, zmq.curve_keypair()[0], pair))
    until(lambda: "another key" in talker.sentence or "broke" in talker.sentence, talker)
    assert backend.listen() == []


def test_an_address_that_is_none_is_a_sentence(make_client: Callable[..., Client]) -> None:
    public, secret = zmq.curve_keypair()
    talker = make_client(remote_target("http://localhost", public, KeyPair(public, secret)))
    talker.receive()
    assert "is no address" in talker.sentence


def test_another_major_version_is_refused_for_good(backend: SmallBackend, make_client: Callable[..., Client]) -> None:
    talker = make_client(local_target(backend.data))
    until(lambda: backend.listen() != [], talker)
    backend.say(Refused("version", "The backend is newer.", "Update the add-on."))
    came = until(lambda: talker.state == "refused", talker)
    assert talker.sentence == "The backend is newer. Update the add-on."
    assert [type(m) for m, _ in came] == [Refused]


def test_a_message_the_backend_would_refuse_is_not_sent(backend: SmallBackend, talker: Client) -> None:
    with pytest.raises(ProtocolError, match=r"cancel\.job"):
        talker.send(Cancel("no id"))
    talker.send(Jobs())
    until(lambda: Jobs() in backend.listen(), talker)
    assert [type(m) for m in backend.heard] == [Hello, Jobs]


def test_of_previews_between_two_ticks_the_newest_comes_with_its_base(backend: SmallBackend, talker: Client) -> None:
    for i in range(3):
        backend.say((Preview(JOB, i, "geometry", "mesh", f"t{i}", None), MESH))
    for i in range(3, 6):
        backend.say((Preview(JOB, i, "texture", "colours", "t2", "t2"), COLOURS))
    backend.say(Error("x", "The end."))
    assert talker._socket is not None
    assert talker._socket.poll(5000)
    time.sleep(0.5)  # a tick that comes late
    mesh, colours, end = (message for message, _ in talker.receive(1.0))
    assert isinstance(mesh, Preview)
    assert isinstance(colours, Preview)
    assert (mesh.seq, colours.seq) == (2, 5)
    assert isinstance(end, Error)


def test_what_a_program_that_stands_still_cannot_read_waits_with_the_backend(
    backend: SmallBackend, make_client: Callable[..., Client]
) -> None:
    backend.socket.router_mandatory, backend.socket.sndhwm, backend.socket.sndtimeo = True, 1, 500
    keys, port = keys_of(backend.data), backend.socket.bind_to_random_port("tcp://127.0.0.1")
    target = remote_target(f"tcp://127.0.0.1:{port}", keys.server_pair().public, keys.client_pair())
    open_(make_client(target), backend)
    large = encode(Preview(JOB, 1, "coarse", "picture", "", None), {"picture": np.zeros((512, 512, 3), np.uint8)})
    sent = 0
    with contextlib.suppress(zmq.Again):
        while sent < 500:
            backend.socket.send_multipart([backend.who, *large])
            sent += 1
    assert 0 < sent < 100


def test_a_call_takes_little_more_than_its_budget(backend: SmallBackend, talker: Client) -> None:
    for i in range(300):
        backend.say((Preview(JOB, i, "geometry", "mesh", f"t{i}", None), MESH))
    assert talker._socket is not None
    assert talker._socket.poll(5000)
    ((first, _),) = talker.receive(0.0)
    assert isinstance(first, Preview)
    assert first.seq < 299


def test_a_message_that_cannot_be_read_harms_nothing(backend: SmallBackend, talker: Client) -> None:
    backend.socket.send_multipart([backend.who, b"noise"])
    backend.say(Error("x", "Still here."))
    assert talker.wait_for(lambda m: isinstance(m, Error), 5) is not None
    assert talker.state == "open"


def test_pings_keep_the_connection_and_silence_ends_it(
    backend: SmallBackend, talker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PING_SECONDS", 0.05)
    monkeypatch.setattr(client, "DEAD_SECONDS", 0.6)
    pings = 0

    def answered_ten() -> bool:
        nonlocal pings
        for message in backend.listen():
            if isinstance(message, Ping):
                pings += 1
                backend.say(Pong())
        return pings >= 20

    until(answered_ten, talker)
    assert talker.state == "open"
    until(lambda: talker.state == "lost", talker)
    assert "silent" in talker.sentence


def test_silence_is_borne_longer_each_time_until_a_connection_has_lasted(
    backend: SmallBackend, talker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PING_SECONDS", 0.05)
    monkeypatch.setattr(client, "DEAD_SECONDS", 1.0)
    monkeypatch.setattr(client, "LONGEST_SECONDS", 2.0)

    def silent_for(answered_seconds: float) -> str:
        deadline = time.monotonic() + answered_seconds
        until(lambda: backend.say(*(Pong() for _ in backend.listen())) or time.monotonic() > deadline, talker)
        until(lambda: talker.state == "lost", talker)
        return talker.sentence

    told = []
    for answered_seconds in (0.0, 0.0, 0.0, 3.0):
        told.append(silent_for(answered_seconds))
        open_(talker, backend)
    assert told == [f"The backend was silent for {seconds} s." for seconds in (1, 2, 2, 1)]


def test_a_program_that_did_not_tick_for_long_has_not_lost_the_backend(
    backend: SmallBackend, talker: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PING_SECONDS", 0.05)
    monkeypatch.setattr(client, "DEAD_SECONDS", 0.2)
    until(lambda: Ping() in backend.listen(), talker)
    backend.say(Pong())
    time.sleep(0.5)  # Blender renders, and calls no timers
    talker.receive()
    assert talker.state == "open"


def test_after_a_lost_connection_jobs_are_attached_to_again_and_unanswered_ones_submitted_again(
    backend: SmallBackend, talker: Client
) -> None:
    other = str(uuid.UUID(int=2))
    talker.send(Attach(other))
    talker.send(SUBMIT)
    until(lambda: SUBMIT in backend.listen(), talker)
    backend.close()
    until(lambda: talker.state == "lost", talker)

    again = SmallBackend(backend.data)
    open_(talker, again)
    until(lambda: again.listen() is not None and len(again.heard) >= 3, talker)
    assert again.heard[1:] == [SUBMIT, Attach(other)]

    again.say(STATE)
    assert talker.wait_for(lambda m: isinstance(m, JobState), 5) is not None
    again.close()
    last = SmallBackend(backend.data)
    open_(talker, last)
    until(lambda: last.listen() is not None and len(last.heard) >= 3, talker)
    assert last.heard[1:] == [Attach(JOB), Attach(other)]
    last.close()


def test_a_job_that_was_refused_is_not_asked_for_after_a_lost_connection(backend: SmallBackend, talker: Client) -> None:
    other = str(uuid.UUID(int=2))
    talker.send(Attach(other))
    talker.send(SUBMIT)
    until(lambda: SUBMIT in backend.listen(), talker)
    backend.say(Error("user", "No.", job=JOB), Error("user", "Not now.", job=other))
    for _ in range(2):
        assert talker.wait_for(lambda m: isinstance(m, Error), 20) is not None
    backend.close()
    until(lambda: talker.state == "lost", talker)

    again = SmallBackend(backend.data)
    open_(talker, again)
    talker.send(Jobs())
    until(lambda: again.listen() is not None and Jobs() in again.heard, talker)
    assert again.heard[1:] == [Attach(other), Jobs()]
    again.close()


def test_waiting_ends_when_its_time_is_up(backend: SmallBackend, talker: Client) -> None:
    started = time.monotonic()
    assert talker.wait_for(lambda m: False, 0.2) is None
    assert 0.2 <= time.monotonic() - started < 10
