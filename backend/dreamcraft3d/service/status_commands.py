"""``dreamcraft3d status``, ``jobs`` and ``cancel``: a running backend, seen from a terminal; clients as any other."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from dreamcraft3d import __version__
from dreamcraft3d.errors import UserError
from dreamcraft3d.service.logs import harmless
from dreamcraft3d.service.retention import measure
from dreamcraft3d_protocol.client import Client, Target, local_target, remote_target
from dreamcraft3d_protocol.connection import Connection, default_data_folder, keys_of
from dreamcraft3d_protocol.keys import is_key
from dreamcraft3d_protocol.messages import Cancel, Error, JobList, Jobs, JobState, Message, Welcome, Worker

OPEN_SECONDS = 10.0
ANSWER_SECONDS = 30.0
END_OF_TIME = 1e12
SHORT = 8
"""Characters of an id that are shown, unless two begin alike."""

Data = Annotated[Path | None, typer.Option("--data", help="The data folder that is served.")]
Endpoint = Annotated[
    Path | None, typer.Option("--endpoint", help="A backend elsewhere: the file that `keys show --output` wrote there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")]


def status(data: Data = None, endpoint: Endpoint = None, as_json: AsJson = False) -> None:
    """Say whether a backend runs, what it does, and what it takes of memory and disk."""
    with _backend(data, endpoint) as client:
        worker = _answer(client, Worker)
        client.send(Jobs())  # the list that came with the welcome may have come before a newer word of the worker
        listed = _answer(client, JobList)
        welcome = client.welcome
    assert welcome is not None
    running = next((job for job in listed.jobs if job.state in ("running", "pausing", "cancelling")), None)
    told: dict[str, Any] = {"version": welcome.version, "protocol": f"{welcome.major}.{welcome.minor}"}
    folder = data or default_data_folder()
    connection = Connection.read(folder) if endpoint is None else None
    if connection is not None:
        told |= {"endpoint": connection.endpoint, "pid": connection.pid, "data": str(folder)}
        told |= {"data_bytes": measure(folder)[0], "free_bytes": shutil.disk_usage(folder).free}
    told |= {"worker": dataclasses.asdict(worker), "jobs": listed.total, "waiting": listed.waiting}
    told["running"] = None if running is None else dataclasses.asdict(running)
    if as_json:
        typer.echo(json.dumps(told))
        return
    where = f"serves {folder} at {told['endpoint']}, process {told['pid']}" if connection else f"answers ({endpoint})"
    _say(f"The backend {welcome.version} {where}.")
    _say(f"Worker: {_worker(worker)}")
    _say("Running: " + ("nothing." if running is None else _progress(running)))
    _say(f"Waiting: {listed.waiting}. Jobs in all: {listed.total}.")
    if connection is not None:
        _say(f"Disk: {decimal(told['data_bytes'])} in the data folder, {decimal(told['free_bytes'])} free.")


def jobs(
    everything: Annotated[bool, typer.Option("--all", help="Also old ones, where there are very many.")] = False,
    data: Data = None,
    endpoint: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """List the jobs, oldest first."""
    with _backend(data, endpoint) as client:
        listed = _answer(client, JobList)
        known = _all_jobs(client) if everything else list(listed.jobs)
    if as_json:
        typer.echo(json.dumps({"total": listed.total, "jobs": [dataclasses.asdict(job) for job in known]}))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "what", "preset", "state", "stage", "seconds", "when"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left", no_wrap=heading != "what")
    length = _id_length(known)
    for job in known:
        when = time.strftime("%m-%d %H:%M", time.localtime(job.created))
        where = f"{job.stage} {_done(job):.0%}".strip()
        cells = (job.job[:length], job.name or job.prompt, job.preset, job.state, where, f"{job.seconds:.0f}", when)
        table.add_row(*(Text(harmless(cell)) for cell in cells))
    Console().print(table)
    for job in known:
        if job.error is not None:
            _say(f"{job.job[:length]} {job.error.sentence} {job.error.hint}")
    if listed.total > len(known):
        _say(f"{listed.total - len(known)} more: dreamcraft3d jobs --all")


def cancel(
    job: Annotated[str, typer.Argument(help="The beginning of its id, as `dreamcraft3d jobs` shows it.")],
    data: Data = None,
    endpoint: Endpoint = None,
) -> None:
    """Stop a job after its present step; it keeps its checkpoint."""
    with _backend(data, endpoint) as client:
        found = _the_job(_all_jobs(client), job)
        if found.state in ("done", "cancelled", "failed"):
            raise UserError(f"The job {found.job} is {found.state} already.", "Only one that runs or waits can be.")
        client.send(Cancel(found.job))

        def over(message: Message) -> bool:
            if isinstance(message, Error) and message.job == found.job:
                raise UserError(message.sentence, message.hint)
            return isinstance(message, JobState) and message.job == found.job and message.state not in _GOING_ON

        answer = client.wait_for(over, ANSWER_SECONDS)
        while answer is None and client.state == "open":  # the reference or the export is being made
            _say("It is asked to stop, and ends what cannot be stopped.")
            answer = client.wait_for(over, ANSWER_SECONDS)
    if answer is None:
        raise UserError("The backend went away.", "The job has been asked to stop; see: dreamcraft3d jobs")
    assert isinstance(answer[0], JobState)
    _say(f"The job {found.job} is {answer[0].state}.")


_GOING_ON = ("queued", "running", "pausing", "paused", "cancelling")


@contextmanager
def _backend(data: Path | None, endpoint: Path | None) -> Iterator[Client]:
    """A connection that is open.

    Raises:
        UserError: there is no backend, or it does not let this machine in.
    """
    folder = data or default_data_folder()
    if endpoint is None:
        target, hint = local_target(folder), f"Start it: dreamcraft3d serve --data {folder}"
        if Connection.read(folder) is None:
            raise UserError(f"No backend serves {folder}.", hint)
    else:
        target, hint = _elsewhere(endpoint, folder)
    client = Client(target, "command line", __version__)
    try:
        deadline = time.monotonic() + OPEN_SECONDS
        patient = client.sentence
        while client.wait_for(lambda message: isinstance(message, Welcome), 0.2) is None:
            if client.sentence != patient or time.monotonic() > deadline:
                trouble = client.sentence if client.sentence != patient else "The backend does not answer."
                raise UserError(trouble, hint)
        yield client
    finally:
        client.close()


def _elsewhere(file: Path, folder: Path) -> tuple[Target, str]:
    """How to reach the backend that a file describes, with this machine's key, and what to do if it does not answer."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        endpoint, key = str(values["endpoint"]), str(values["server_public_key"])
    except (OSError, ValueError, KeyError, TypeError):
        endpoint = key = ""
    if not endpoint or not is_key(key.encode()):
        sentence = f"{file} cannot be read as the address of a backend."
        raise UserError(sentence, "Make it there: dreamcraft3d keys show --endpoint ... --output FILE")
    pair = keys_of(folder).client_pair()
    hint = f"This machine's key is let in there by: dreamcraft3d keys add NAME '{pair.public.decode()}'"
    return remote_target(endpoint, key.encode(), pair), hint


def _answer(client: Client, kind: type[Any], before: float | None = None) -> Any:
    """The next message of a kind; of lists, that of jobs created ``before`` a moment. Raises UserError if none comes."""

    def wanted(message: Message) -> bool:
        return isinstance(message, kind) and getattr(message, "before", None) == before

    answer = client.wait_for(wanted, ANSWER_SECONDS)
    if answer is None:
        raise UserError("The backend does not answer.", client.sentence)
    return answer[0]


def _all_jobs(client: Client) -> list[JobState]:
    """All that there are, oldest first, some at a time."""
    known: dict[str, JobState] = {}
    before = END_OF_TIME
    while True:
        client.send(Jobs(before))
        page = _answer(client, JobList, before).jobs
        if not page:
            return sorted(known.values(), key=lambda job: job.created)
        known |= {job.job: job for job in page}
        before = page[0].created


def _the_job(known: list[JobState], start: str) -> JobState:
    """The one whose id begins so. Raises UserError if there is none, or several."""
    found = [job for job in known if job.job.startswith(start)]
    if not start or len(found) > 1:
        names = ", ".join(job.job[: _id_length(found)] for job in found[:3])
        raise UserError(f"{len(found)} jobs have ids that begin with {start!r}: {names} ...", "Give more of it.")
    if not found:
        raise UserError(f"There is no job {start!r}.", "See: dreamcraft3d jobs")
    return found[0]


def _id_length(known: list[JobState]) -> int:
    """So many characters that no two ids look alike."""
    ids = {job.job for job in known}
    return next((n for n in range(SHORT, 36) if len({i[:n] for i in ids}) == len(ids)), 36)


def _done(job: JobState) -> float:
    """The share of all stages."""
    if job.state == "done":
        return 1.0
    return (job.stage_index + (job.step / job.steps if job.steps else 0.0)) / max(job.stage_count, 1)


def _worker(worker: Worker) -> str:
    device = {"cuda": worker.name or "graphics card", "cpu": "processor"}.get(worker.device, "")
    words = [worker.state, *([f"on the {device}"] if worker.device == "cpu" else [device] if device else [])]
    if worker.used_bytes:
        words.append(f"{decimal(worker.used_bytes)} taken")
    if worker.memory_bytes:
        words.append(f"{decimal(worker.free_bytes)} of {decimal(worker.memory_bytes)} free")
    return ", ".join(words) + "." + (f" {worker.sentence}" if worker.sentence else "")


def _progress(job: JobState) -> str:
    left = [
        *([f"{job.eta_seconds:.0f} s left in this stage"] if job.eta_seconds is not None else []),
        *([f"{job.left_seconds:.0f} s until it is done"] if job.left_seconds is not None else []),
    ]
    stage = f"{job.stage} ({job.stage_index + 1} of {job.stage_count}), step {job.step} of {job.steps}"
    where = [stage] if job.stage else ["at its beginning"]
    return f"{job.job[:SHORT]} ({job.name or job.prompt}, {job.preset}), {job.state}: {', '.join(where + left)}."


def _say(sentence: str) -> None:
    Console(soft_wrap=True, highlight=False).print(Text(harmless(sentence)))
