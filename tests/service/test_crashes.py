"""Processes die, disks fill, folders are taken: no job is lost, and there is a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from serving import (
    LONG_STEPS,
    TINY,
    Backend,
    has_begun,
    is_state,
    is_worker,
    posix,
    read_until,
    start_serving,
    submit,
    wait_until,
)

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.store import Store
from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.connection import Connection
from dreamcraft3d_protocol.messages import Cancel, Error, JobState, Result, Shutdown, Worker

pytestmark = posix


def test_a_killed_worker_costs_no_job_and_everybody_is_told(backend: Backend) -> None:
    client = backend.client()
    job = submit(client, preset="long", until="coarse")
    read_until(client, has_begun(job, "coarse", 5))
    before = backend.worker_pid()
    os.kill(before, signal.SIGKILL)
    told = read_until(client, is_worker("restarting"), seconds=10)[-1][0]
    assert isinstance(told, Worker)
    assert "SIGKILL" in told.sentence
    letters = read_until(client, is_worker("busy"))
    assert any("goes on from its last checkpoint" in m.sentence for m, _ in letters if isinstance(m, JobState))
    letters = read_until(client, has_begun(job, "coarse", 1))
    assert "reference" not in {m.stage for m, _ in letters if isinstance(m, JobState) and m.seconds > 0}
    assert backend.worker_pid() != before
    client.send(Cancel(job))
    read_until(client, is_state(job, "cancelled"))


def test_a_killed_supervisor_costs_no_job_and_its_clients_find_the_next_one(own_backend: Backend) -> None:
    client = own_backend.client()
    job = submit(client, preset="long", until="coarse", name="Survivor")
    waiting = submit(client, until="reference")
    read_until(client, has_begun(job, "coarse", 5))
    worker = own_backend.worker_pid()
    own_backend.kill()
    wait_until(lambda: not Path(f"/proc/{worker}").exists() or "Z" in stat_of(worker), 10)
    wait_until(lambda: client.receive() is not None and client.state == "lost", 10)

    own_backend.start()
    letters = read_until(client, lambda m: isinstance(m, Result) and m.job == job)
    told = [m for m, _ in letters if isinstance(m, JobState) and m.job == job]
    assert told[0].name == "Survivor"
    assert told[-1].state == "done"
    read_until(client, lambda m: isinstance(m, Result) and m.job == waiting)


def stat_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_a_supervisor_asked_to_end_leaves_a_checkpoint_and_no_process_or_address(own_backend: Backend) -> None:
    client = own_backend.client()
    job = submit(client, preset="long", until="coarse")
    read_until(client, has_begun(job, "coarse", 10))
    worker = own_backend.worker_pid()
    assert own_backend.terminate() == 0
    assert not Path(f"/proc/{worker}").exists()
    assert Connection.read(own_backend.data) is None
    run = own_backend.data / "jobs" / job / "object"
    assert (run / "checkpoint.pt").is_file()
    done = json.loads((run / "progress.json").read_text())["coarse"]["steps"]
    assert 10 <= done < LONG_STEPS

    own_backend.start()
    letters = read_until(client, has_begun(job, "coarse", done + 1))
    steps = [m.step for m, _ in letters if isinstance(m, JobState) and m.stage == "coarse" and m.state == "running"]
    assert min(steps) >= done


def test_the_supervisor_loads_nothing_that_computes(tmp_path: Path) -> None:
    """Looked up in the real process as it ends, after a job went through it."""
    data, modules = tmp_path / "data", tmp_path / "modules.json"
    (data / "presets").mkdir(parents=True)
    (data / "presets" / "tiny.toml").write_text(TINY.format(density_steps=2))
    program = (
        "import atexit, json, pathlib, sys;"
        f"atexit.register(lambda: pathlib.Path({str(modules)!r}).write_text(json.dumps(sorted(sys.modules))));"
        "from dreamcraft3d import cli; cli.main()"
    )
    process = start_serving(data, program=("-c", program))
    client = Client(local_target(data), "test", "1")
    mesh = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
    submit(client, "a brown box", mesh, first="texture", until="reference")
    read_until(client, lambda m: isinstance(m, Result))
    client.send(Shutdown())
    client.receive()
    assert process.wait(timeout=40) == 0
    client.close()
    loaded = {name.split(".")[0] for name in json.loads(modules.read_text())}
    assert "zmq" in loaded
    assert not loaded & {"torch", "warp", "diffusers", "transformers", "bpy", "cv2"}


def test_a_second_supervisor_on_a_folder_is_refused_by_name_of_the_first(backend: Backend) -> None:
    backend.client()
    command = [sys.executable, "-m", "dreamcraft3d.cli", "serve", "--data", str(backend.data)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 2
    assert second.stderr.strip().startswith(f"A backend (process {backend.process.pid}) serves {backend.data} already.")
    assert "Traceback" not in second.stderr
    assert backend.process.poll() is None
    assert Connection.read(backend.data) is not None


def test_a_supervisor_that_nobody_needs_leaves(tmp_path: Path) -> None:
    process = start_serving(tmp_path / "data", "--idle-minutes", "0.01")
    assert process.wait(timeout=40) == 0
    assert "nobody needs it" in (tmp_path / "data" / "serve.log").read_text()


def refused(*options: str) -> str:
    """What ``serve`` says when it cannot begin."""
    command = [sys.executable, "-m", "dreamcraft3d.cli", "serve", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in refused("--data", str(tmp_path / "file" / "data"))


def test_a_port_that_is_taken_is_a_sentence(backend: Backend, tmp_path: Path) -> None:
    backend.client()
    here = Connection.read(backend.data)
    assert here is not None
    port = here.endpoint.rsplit(":", 1)[1]
    assert f"Port {port} of 127.0.0.1 cannot be had" in refused("--data", str(tmp_path / "data"), "--port", port)


def test_a_secret_key_that_others_may_read_is_a_sentence(tmp_path: Path) -> None:
    process = start_serving(tmp_path / "data", "--idle-minutes", "0")
    process.wait(timeout=40)
    (tmp_path / "data" / "keys" / "server.key_secret").chmod(0o644)
    assert "chmod 600" in refused("--data", str(tmp_path / "data"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.name == "posix" and os.geteuid() == 0
    if mounted:
        command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_a_sentence_that_harms_nothing_and_with_room_the_job_goes_on_by_itself(small_disk: Path) -> None:
    with closing(Backend(small_disk / "data")) as own:
        client = own.client()
        read_until(client, is_worker("ready"))
        job = submit(client, "", {"picture": np.random.default_rng(0).integers(0, 256, 4 << 20, np.uint8)})
        error, _ = read_until(client, lambda m: isinstance(m, Error))[-1]
        assert isinstance(error, Error)
        assert (error.code, error.job) == ("disk", job)
        assert "full" in error.sentence

        filler = small_disk / "filler"
        filler.write_bytes(bytes(2_600_000))
        job = submit(client, until="reference")
        read_until(client, lambda m: isinstance(m, JobState) and m.state == "running")
        state, _ = read_until(client, lambda m: isinstance(m, JobState) and m.state != "running")[-1]
        assert isinstance(state, JobState)
        assert (state.job, state.state, state.error) == (job, "queued", None)
        assert "full" in state.sentence

        filler.unlink()
        read_until(client, lambda m: isinstance(m, Result))


def test_what_a_client_was_told_is_on_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite3")
    asked = (store._database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous"))
    assert list(asked) == ["wal", 2]
    store.close()


def test_a_folder_on_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = SimpleNamespace(mountpoint=str(tmp_path / "share"), fstype="nfs4", opts="rw")
    here = SimpleNamespace(mountpoint="/", fstype="ext4", opts="rw")
    monkeypatch.setattr("psutil.disk_partitions", lambda all: [share, here])
    with pytest.raises(UserError, match="network share"):
        DataFolder(tmp_path / "share" / "data").acquire()
    assert not (tmp_path / "share").exists()
    DataFolder(tmp_path / "data").acquire().lock.release()
