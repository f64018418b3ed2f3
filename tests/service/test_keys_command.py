"""``dreamcraft3d keys``, and a backend that listens to more than its own machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from serving import Backend, start_serving, wait_until

from dreamcraft3d_protocol.client import Client, remote_target
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.keys import KeyPair


def keys(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dreamcraft3d.cli", *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def assert_sentence(said: subprocess.CompletedProcess[str], *words: str) -> None:
    assert said.returncode == 2, said
    assert "Traceback" not in said.stderr
    for word in words:
        assert word in said.stderr, said.stderr


@pytest.fixture
def pair() -> KeyPair:
    return KeyPair(*zmq.curve_keypair())


def test_a_client_is_enrolled_listed_and_struck_off(tmp_path: Path, pair: KeyPair) -> None:
    public = pair.public.decode()
    assert keys(tmp_path, "keys", "add", "studio", public).returncode == 0
    assert keys_of(tmp_path).enrolled() == {pair.public: "studio"}
    assert keys(tmp_path, "keys", "list").stdout.split() == ["studio", public]
    other = zmq.curve_keypair()[0].decode()
    assert_sentence(keys(tmp_path, "keys", "add", "studio", other), "another key", "keys remove studio")
    assert keys(tmp_path, "keys", "remove", "studio").returncode == 0
    assert keys_of(tmp_path).enrolled() == {}
    assert_sentence(keys(tmp_path, "keys", "remove", "studio"), "Nobody is enrolled as studio")


@pytest.mark.parametrize("start", ["-Y2<E", "--2<E", "-----", "-h2<E"])
def test_a_key_may_begin_with_dashes(tmp_path: Path, start: str) -> None:
    public = start + "OBEYJI>{BGcwOV9P0pu**aT1/qgc#%3K]xo"
    assert keys(tmp_path, "keys", "add", "-studio", public).returncode == 0
    assert keys_of(tmp_path).enrolled() == {public.encode(): "-studio"}
    assert keys(tmp_path, "keys", "remove", "-studio").returncode == 0


def test_what_is_no_key_or_no_name_is_a_sentence(tmp_path: Path, pair: KeyPair) -> None:
    assert_sentence(keys(tmp_path, "keys", "add", "studio", "abc"), "40 characters")
    assert_sentence(keys(tmp_path, "keys", "add", "../x", pair.public.decode()), "letters, digits")
    assert_sentence(keys(tmp_path, "keys", "add", "local", pair.public.decode()), "this machine itself")


def test_the_public_key_is_shown_and_written_with_the_address(tmp_path: Path) -> None:
    file = tmp_path / "studio.json"
    shown = keys(tmp_path / "data", "keys", "show").stdout.strip()
    assert shown.encode() == keys_of(tmp_path / "data").server_pair().public
    keys(tmp_path / "data", "keys", "show", "--endpoint", "tcp://studio:5555", "--output", str(file))
    assert json.loads(file.read_text()) == {"endpoint": "tcp://studio:5555", "server_public_key": shown}
    assert keys_of(tmp_path / "data").server_pair().secret.decode() not in file.read_text()


def test_listening_to_others_is_refused_while_none_of_them_may_connect(tmp_path: Path) -> None:
    keys_of(tmp_path).client_pair()  # this machine's own does not count
    assert_sentence(keys(tmp_path, "serve", "--bind", "0.0.0.0"), "Nobody elsewhere may connect", "keys add")
    assert_sentence(keys(tmp_path, "serve", "--bind", "studio"), "no IPv4 address")
    assert Connection.read(tmp_path) is None


def test_a_backend_that_listens_to_others_serves_them_and_its_own_machine(tmp_path: Path, pair: KeyPair) -> None:
    data = tmp_path / "data"
    assert keys(data, "keys", "add", "studio", pair.public.decode()).returncode == 0
    backend = Backend.__new__(Backend)
    backend.data, backend.clients = data, []
    backend.process = start_serving(data, "--bind", "0.0.0.0")
    try:
        backend.client()
        published = Connection.read(data)
        assert published is not None
        assert published.endpoint.startswith("tcp://127.0.0.1:")
        elsewhere = published.endpoint.replace("127.0.0.1", "127.0.0.2")  # listened at by way of "any address" alone
        client = Client(remote_target(elsewhere, published.server_public_key.encode(), pair), "studio", "1")
        backend.clients.append(client)
        wait_until(lambda: client.receive() is not None and client.state == "open")
        assert published.server_public_key in (data / "serve.log").read_text()
    finally:
        backend.close()
