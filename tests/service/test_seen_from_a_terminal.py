"""``dreamcraft3d status``, ``jobs``, ``logs`` and ``cancel``, on a real backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from scripted_backend import ScriptedBackend
from serving import Backend, has_begun, is_state, read_until, start_serving, submit, wait_until

from dreamcraft3d.service.logs import KEPT, MAX_BYTES, Logs
from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.messages import Error, JobList, Jobs, Message, Submit


def call(data: Path, command: str, *options: str, status: int = 0) -> str:
    """What a command says, on standard output or, where it fails, as a sentence."""
    done = subprocess.run(
        [sys.executable, "-m", "dreamcraft3d.cli", command, *options, "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "", "COLUMNS": "200", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if status == 0 else done.stderr


def test_a_running_job_is_seen_and_cancelled_and_what_became_of_it_is_in_the_logs(backend: Backend) -> None:
    client = backend.client()
    job, waits = (submit(client, preset="long", name=name) for name in ("Fungus", "Later"))
    read_until(client, has_begun(job, "coarse", 2))

    said = call(backend.data, "status")
    assert f"process {backend.process.pid}." in said
    assert str(backend.data) in said
    assert "Worker: busy, on the processor" in said
    assert f"Running: {job[:8]} (Fungus, long), running: coarse (2 of 5), step " in said
    assert "s left in this stage" in said
    assert "Waiting: 1." in said
    assert " in the data folder, " in said
    told = json.loads(call(backend.data, "status", "--json"))
    assert (told["running"]["job"], told["waiting"], told["worker"]["state"]) == (job, 1, "busy")
    assert told["pid"] == backend.process.pid
    assert told["data_bytes"] > 0

    lines = call(backend.data, "jobs").splitlines()
    mine, next_one = (next(line for line in lines if one[:8] in line) for one in (job, waits))
    assert [cell in mine for cell in ("Fungus", "long", "running", "coarse")] == [True] * 4
    assert "queued" in next_one

    began = time.monotonic()
    assert call(backend.data, "cancel", job[:8]) == f"The job {job} is cancelled.\n"
    assert time.monotonic() - began < 20
    call(backend.data, "cancel", waits)
    listed = json.loads(call(backend.data, "jobs", "--json"))["jobs"]
    assert {one["job"]: one["state"] for one in listed} | {job: "cancelled", waits: "cancelled"} == {
        one["job"]: one["state"] for one in listed
    }
    assert "is cancelled already" in call(backend.data, "cancel", job, status=2)

    logged = call(backend.data, "logs", "--job", job[:8], "--lines", "1000")
    assert f"gives the job {job}, preset long" in logged
    assert f"the job {job} is cancelled after" in logged
    assert waits not in logged
    assert "Later" not in logged


def test_what_there_is_not_is_a_sentence(backend: Backend, tmp_path: Path) -> None:
    for command in (("status",), ("jobs",), ("cancel", "ab")):
        assert "No backend serves" in call(tmp_path, *command, status=2)
    assert "There are no logs" in call(tmp_path, "logs", status=2)
    assert "There is no job 'zz'" in call(backend.data, "cancel", "zz", status=2)
    assert "No job 'zz' is in the logs" in call(backend.data, "logs", "--job", "zz", status=2)
    (tmp_path / "bad.json").write_text("{}")
    assert "cannot be read as the address" in call(
        tmp_path, "status", "--endpoint", str(tmp_path / "bad.json"), status=2
    )


def test_nothing_that_a_client_calls_itself_or_a_job_erases_the_screen(backend: Backend) -> None:
    erase = "\x1b[2J"
    client = Client(local_target(backend.data), f"Mallory{erase}", f"1{erase}")
    backend.clients.append(client)
    job, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    client.send(Submit(job, "a red mushroom", "tiny", 1, until="reference", name=f"Fungus{erase}"))
    client.send(Submit(unknown, "a red mushroom", f"qwerty{erase}", 1))
    read_until(client, lambda message: isinstance(message, Error) and message.job == unknown)
    read_until(client, is_state(job, "done"))
    shown = {
        "jobs": call(backend.data, "jobs", "--all"),
        "logs": call(backend.data, "logs", "--lines", "10000"),
        "serve": (backend.data.parent / "output.txt").read_text(),
    }
    for where, words in (("jobs", "Fungus[2J"), ("logs", "Mallory"), ("serve", "qwerty"), ("serve", "Mallory")):
        assert words in shown[where]
    assert not any("\x1b" in text for text in shown.values())


def test_a_backend_that_was_killed_is_said_not_to_answer(own_backend: Backend) -> None:
    wait_until(lambda: Connection.read(own_backend.data) is not None)
    own_backend.kill()
    assert "Nobody listens" in call(own_backend.data, "status", status=2)


def test_an_id_that_two_jobs_share_the_beginning_of_is_refused(backend: Backend) -> None:
    client = backend.client()
    twins = [f"abcdef01-0000-4000-8000-{uuid.uuid4().hex[:12]}" for _ in range(2)]
    for twin in twins:
        client.send(Submit(twin, "a red mushroom", "tiny", 1, until="reference"))
    read_until(client, is_state(twins[1], "queued"))
    assert "2 jobs have ids that begin with 'abcdef01'" in call(backend.data, "cancel", "abcdef01", status=2)
    for twin in twins:
        read_until(client, lambda message, twin=twin: is_state(twin, "done")(message))  # type: ignore[misc]


def test_a_backend_elsewhere_is_seen_by_those_it_lets_in(backend: Backend, tmp_path: Path) -> None:
    file = tmp_path / "there.json"
    wait_until(lambda: Connection.read(backend.data) is not None)
    connection = Connection.read(backend.data)
    assert connection is not None
    call(backend.data, "keys", "show", "--endpoint", connection.endpoint, "--output", str(file))
    here = tmp_path / "here"
    assert "dreamcraft3d keys add NAME" in call(here, "status", "--endpoint", str(file), status=2)
    keys_of(backend.data).enrol(keys_of(here).client_pair().public, "visitor")
    assert "Worker: " in call(here, "status", "--endpoint", str(file))
    keys_of(backend.data).strike("visitor")


def test_of_many_jobs_those_that_matter_are_listed_and_all_can_be(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = start_serving(data)
    backend = Backend.__new__(Backend)
    backend.data, backend.clients, backend.process = data, [], process
    client = backend.client()
    many = [submit(client, preset="draft") for _ in range(230)]
    read_until(client, is_state(many[-1], "queued"))
    visitor = backend.client()
    listed, _ = read_until(visitor, lambda message: isinstance(message, JobList))[-1]
    assert isinstance(listed, JobList)
    named = [job.job for job in listed.jobs]
    assert (len(named), listed.total) == (100, 230)
    assert listed.waiting in (229, 230)
    assert set(many[:49] + many[-49:]) <= set(named), "the next in turn, and the newest"
    assert [job["job"] for job in json.loads(call(data, "jobs", "--all", "--json"))["jobs"]] == many
    assert call(data, "cancel", many[100]) == f"The job {many[100]} is cancelled.\n"
    backend.kill()
    backend.close()


def test_logs_are_json_lines_and_are_read_on_over_a_rotation(tmp_path: Path) -> None:
    from logging import getLogger

    from dreamcraft3d.service.logs import about, start_log

    (tmp_path / "serve.log").write_text("2026-01-01 00:00:00,000 INFO of an earlier version\n")
    root = getLogger()
    before = root.handlers[:], root.level
    start_log(tmp_path / "serve.log", terminal=False)
    try:
        logs = Logs(tmp_path)
        assert [line.message for line in logs.written()] == ["2026-01-01 00:00:00,000 INFO of an earlier version"]
        log = getLogger("dreamcraft3d.service.some")
        with about("submit", "1234"):
            log.info("a line with a\nbreak and \u2028")
        first = json.loads((tmp_path / "serve.log").read_text(encoding="utf-8").split("\n")[1])
        assert first == {
            "time": first["time"],
            "level": "info",
            "event": "submit",
            "job": "1234",
            "message": "a line with a\nbreak and \u2028",
        }
        assert [line.message for line in logs.new()] == [first["message"]]
        heard, said = [], 0
        while not (tmp_path / f"serve.log.{KEPT}").is_file():
            for _ in range(500):
                log.info("%d %s", said, "x" * 1000)
                said += 1
            heard += [int(line.message.split()[0]) for line in logs.new()]
        assert heard == list(range(said)), "nothing twice, nothing missed"
        files = [*tmp_path.glob("serve.log*")]
        assert sum(file.stat().st_size for file in files) < (KEPT + 1) * MAX_BYTES
        kept = [int(line.message.split()[0]) for line in Logs(tmp_path).written() if "xx" in line.message]
        assert kept == list(range(kept[0], said))
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = before


class Overtaken(ScriptedBackend):
    """Whose list of jobs came before a newer word of the worker, so that it was passed over."""

    def hear(self, who: bytes, message: Message) -> None:
        if isinstance(message, Jobs):
            self.tell(who, JobList((), 7, 3))


def test_the_status_is_told_whatever_came_first(tmp_path: Path) -> None:
    backend = Overtaken(tmp_path)
    command = [sys.executable, "-m", "dreamcraft3d.cli", "status", "--json", "--data", str(tmp_path)]
    asking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: backend.serve() is not None and asking.poll() is not None)
    backend.close()
    assert json.loads(asking.communicate()[0])["jobs"] == 7
