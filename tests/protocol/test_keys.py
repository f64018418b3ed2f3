"""Keys and the connection file: who may read them, and what is said when they are wrong."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import zmq

from dreamcraft3d_protocol.connection import Connection, default_data_folder
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyFolder, read_pair

CONNECTION = Connection("tcp://127.0.0.1:1234", "x" * 40, 42, 1, 0, "0.1.0")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    keys = KeyFolder(tmp_path / "keys")
    keys.server_pair()
    keys.client_pair()
    return keys


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_keys_are_for_their_owner_alone(keys: KeyFolder) -> None:
    assert mode(keys.path) == mode(keys.path / "clients") == 0o700
    files = [path for path in keys.path.rglob("*") if path.is_file()]
    assert {f.name for f in files} == {
        "server.key",
        "server.key_secret",
        "client.key",
        "client.key_secret",
        "local.key",
    }
    assert {mode(f) for f in files} == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_secret_that_others_may_read_is_refused_with_its_mend(keys: KeyFolder) -> None:
    secret = keys.path / "server.key_secret"
    secret.chmod(0o640)
    with pytest.raises(ProtocolError, match="chmod 600"):
        keys.server_pair()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize("place", [".", "clients"])
def test_a_folder_into_which_others_may_put_keys_is_refused_with_its_mend(keys: KeyFolder, place: str) -> None:
    folder = keys.path / place
    for mode in (0o770, 0o755, 0o702):
        folder.chmod(mode)
        with pytest.raises(ProtocolError, match=f"chmod 700 {folder}$"):
            keys.client_pair()
    folder.chmod(0o700)
    keys.client_pair()


@pytest.mark.skipif(os.name != "posix", reason="owners are POSIX's")
def test_keys_of_another_user_are_refused_but_to_root(keys: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ProtocolError, match="another user's"):
        keys.server_pair()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    keys.server_pair()


def test_pairs_stay_the_same_and_differ_from_each_other(keys: KeyFolder) -> None:
    assert keys.server_pair() == keys.server_pair()
    assert keys.server_pair() != keys.client_pair()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow, as this process sees it."""
    this = psutil.Process()
    limits = this.rlimit(psutil.RLIMIT_FSIZE)
    this.rlimit(psutil.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        this.rlimit(psutil.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="limits are Linux's")
def test_on_a_full_disk_keys_that_are_there_can_be_used_and_that_no_more_can_be_made_is_a_sentence(
    keys: KeyFolder, tmp_path: Path
) -> None:
    pair = keys.client_pair()
    with full_disk():
        assert keys.client_pair() == pair
        with pytest.raises(ProtocolError, match=r"cannot be written: .+\."):
            keys.enrol(zmq.curve_keypair()[0], "studio")
        with pytest.raises(ProtocolError, match=r"cannot be written: .+\."):
            KeyFolder(tmp_path / "others").client_pair()
    assert set(keys.enrolled().values()) == {"local"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_whoever_connects_as_root_leaves_the_users_keys_the_users(keys: KeyFolder) -> None:
    for path in (keys.path, *keys.path.rglob("*")):
        os.chown(path, 1000, 1000)
    keys.client_pair()
    assert {path.stat().st_uid for path in keys.path.rglob("*")} == {1000}


def test_the_local_client_is_enrolled_and_a_remote_one_by_hand(keys: KeyFolder) -> None:
    public, _ = zmq.curve_keypair()
    assert keys.enrolled() == {keys.client_pair().public: "local"}
    keys.enrol(public, "studio")
    assert keys.enrolled() == {keys.client_pair().public: "local", public: "studio"}


@pytest.mark.parametrize("name", ["", "../server", "a/b", "a b", "x" * 65, "é", 'a"b'])
def test_a_name_that_could_be_a_path_is_refused(keys: KeyFolder, name: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be called"):
        keys.enrol(zmq.curve_keypair()[0], name)


@pytest.mark.parametrize("key", [b"", b"x" * 39, b"\xff" * 40, b'"' * 40])
def test_what_is_no_key_is_refused(keys: KeyFolder, key: bytes) -> None:
    with pytest.raises(ProtocolError, match="40 characters"):
        keys.enrol(key, "studio")


@pytest.mark.parametrize("text", ["not a key", "curve\n    public-key\n", "\udcff"])
def test_a_file_that_is_no_key_harms_nobody(keys: KeyFolder, text: str) -> None:
    (keys.path / "clients" / "notes.key").write_text(text, errors="surrogateescape")
    assert set(keys.enrolled().values()) == {"local"}


def test_a_missing_or_broken_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="no key in"):
        read_pair(tmp_path / "server.key_secret")
    broken = tmp_path / "broken.key_secret"
    broken.write_text('curve\n    public-key = "abc"\n    secret-key = "def"\n')
    broken.chmod(0o600)
    with pytest.raises(ProtocolError, match="broken"):
        read_pair(broken)


def test_secrets_are_not_shown(keys: KeyFolder) -> None:
    pair = keys.server_pair()
    assert pair.secret.decode() not in repr(pair)


def test_a_connection_is_published_for_its_owner_alone_and_withdrawn(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert Connection.read(data) is None
    CONNECTION.publish(data)
    assert Connection.read(data) == CONNECTION
    if os.name == "posix":
        assert mode(data / "connection.json") == 0o600
    assert [f.name for f in data.iterdir()] == ["connection.json"]
    Connection.withdraw(data)
    Connection.withdraw(data)
    assert Connection.read(data) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"endpoint": 1}', '{"endpoint": '])
def test_a_broken_connection_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "connection.json").write_text(text)
    with pytest.raises(ProtocolError, match="start it again"):
        Connection.read(tmp_path)


def test_the_environment_names_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMCRAFT3D_DATA", str(tmp_path))
    assert default_data_folder() == tmp_path
    monkeypatch.delenv("DREAMCRAFT3D_DATA")
    assert default_data_folder().name == "dreamcraft3d"
