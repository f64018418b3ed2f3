"""A backend on another machine, as the add-on sees it: real sockets and keys, an address that is not this machine's own."""

from __future__ import annotations

import dataclasses
import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from blender_addon.core.remote import Remote, read_key_file
from blender_addon.core.session import Session
from blender_addon.core.settings import Settings
from launcher import wait_until
from scripted_backend import ScriptedBackend

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import Refused

Attach = Callable[..., Session]
NO_KEY = zmq.curve_keypair()[0].decode()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedBackend]:
    """A backend whose data folder is not the add-on's."""
    backend = ScriptedBackend(tmp_path / "elsewhere")
    yield backend
    backend.close()


@pytest.fixture
def attach(settings: Settings, server: ScriptedBackend) -> Iterator[Attach]:
    """A session attached to the server, or to what else is given."""
    published = Connection.read(server.data)
    assert published is not None
    made: list[Session] = []

    def session(**changes: object) -> Session:
        remote = Remote(published.endpoint, published.server_public_key)
        made.append(Session(dataclasses.replace(settings, remote=dataclasses.replace(remote, **changes))))  # type: ignore[arg-type]
        return made[-1]

    yield session
    for one in made:
        one.close()


def enrol(server: ScriptedBackend, session: Session) -> None:
    keys_of(server.data).enrol(session.public_key.encode(), "studio")
    server.gate.configure_curve(domain="*", location=str(keys_of(server.data).path / "clients"))


def reach(session: Session, server: ScriptedBackend, phase: str, seconds: float = 5) -> None:
    def there() -> bool:
        server.serve()
        session.tick(0.01)
        return session.status.phase == phase

    wait_until(there, seconds, lambda: session.status)


def test_an_enrolled_key_is_let_in_and_the_machine_is_named(attach: Attach, server: ScriptedBackend) -> None:
    session = attach()
    enrol(server, session)
    reach(session, server, "ready")
    assert session.status.host == "127.0.0.1"
    assert session.status.title == "Ready"


def test_a_key_nobody_enrolled_is_told_within_seconds_with_what_to_do(attach: Attach, server: ScriptedBackend) -> None:
    session = attach()
    reach(session, server, "refused", seconds=3)
    assert "127.0.0.1 does not know this add-on's key" in session.status.sentence
    assert "dreamcraft3d keys add NAME 'KEY'" in session.status.sentence
    assert session.status.mend == "copy_key"
    enrol(server, session)
    session.restart()
    reach(session, server, "ready")


def test_another_backends_key_is_told_and_points_to_the_preferences(attach: Attach, server: ScriptedBackend) -> None:
    session = attach(server_key=NO_KEY)
    enrol(server, session)
    wait_until(lambda: session.tick(0.01) is not None and "another key" in session.status.sentence, 5)
    assert (session.status.phase, session.status.mend) == ("connecting", "open_preferences")


def test_where_nobody_listens_that_is_said(attach: Attach, server: ScriptedBackend) -> None:
    session = attach(endpoint="tcp://127.0.0.1:9")
    wait_until(lambda: session.tick(0.01) is not None and "Nobody listens" in session.status.sentence, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"endpoint": ""}, "There is no address yet"),
        ({"endpoint": "studio:5555"}, "tcp://HOST:PORT"),
        ({"endpoint": "tcp://studio"}, "tcp://HOST:PORT"),
        ({"server_key": "abc"}, "dreamcraft3d keys show"),
    ],
)
def test_what_cannot_be_a_backend_is_a_sentence(attach: Attach, changes: dict[str, str], words: str) -> None:
    session = attach(**changes)
    session.tick(0.01)
    assert words in session.status.sentence
    assert (session.status.phase, session.status.mend) == ("failed", "open_preferences")


def test_blender_offline_connects_to_nobody_but_itself(attach: Attach, server: ScriptedBackend) -> None:
    session = attach(endpoint="tcp://10.255.255.1:5555", online=False)
    session.tick(0.01)
    assert (session.status.phase, session.status.mend) == ("offline", "open_network")
    assert "Allow Online Access" in session.status.sentence
    tunnel = attach(online=False)
    enrol(server, tunnel)
    reach(tunnel, server, "ready")


def test_the_add_ons_secret_key_is_its_owners_alone_and_stays_the_same(attach: Attach, settings: Settings) -> None:
    first = attach().public_key
    secret = settings.home / "keys" / "addon.key_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert attach().public_key == first
    assert not (settings.data / "keys").exists()


def test_a_remote_backend_is_neither_looked_for_started_nor_ended_here(
    attach: Attach, server: ScriptedBackend, settings: Settings
) -> None:
    session = attach()
    enrol(server, session)
    session.want()
    session.start()
    reach(session, server, "ready")
    session.restart()
    reach(session, server, "ready")
    assert server.heard == []
    assert not settings.search_log.exists()
    assert not settings.log.exists()


@pytest.mark.parametrize(
    ("code", "mend"), [("version", "reconnect"), ("client_version", "open_extensions"), ("x", "reconnect")]
)
def test_a_remote_of_another_version_is_told_with_what_helps(
    attach: Attach, server: ScriptedBackend, code: str, mend: str
) -> None:
    session = attach()
    enrol(server, session)
    wait_until(lambda: session.tick(0.01) is not None and bool(server.socket.poll(0)))
    who, *_ = server.socket.recv_multipart()
    server.tell(who, Refused(code, f"The client speaks version {VERSION[0]}.", "Update one."))
    wait_until(lambda: session.tick(0.01) is not None and session.status.phase == "refused")
    assert session.status.mend == mend
    assert "reconnect" in (mend, session.status.again)
    words = {"version": "on 127.0.0.1 is older", "client_version": "This add-on is older", "x": "Update one."}
    assert words[code] in session.status.sentence


def test_a_file_of_the_server_gives_address_and_key(tmp_path: Path) -> None:
    file = tmp_path / "studio.json"
    file.write_text(json.dumps({"endpoint": "tcp://studio:5555", "server_public_key": NO_KEY}))
    assert read_key_file(file) == ("tcp://studio:5555", NO_KEY)
    file.write_text(NO_KEY + "\n")
    assert read_key_file(file) == ("", NO_KEY)
    for wrong in ("{}", "[]", "hello", json.dumps({"server_public_key": "x"})):
        file.write_text(wrong)
        with pytest.raises(ProtocolError, match=r"There is no public key in studio\.json"):
            read_key_file(file)
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_key_file(tmp_path / "nowhere")


def test_a_machine_that_does_not_answer_does_not_hold_blender_up(attach: Attach) -> None:
    session = attach(endpoint="tcp://10.255.255.1:5555")
    started = time.monotonic()
    for _ in range(20):
        session.tick(0.008)
    assert time.monotonic() - started < 10  # the system tries for two minutes
    assert session.status.phase == "connecting"
