"""A client that loses its backend while a job streams finds all that is newest when it is back, and the result once."""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blender_addon.core.previews import Previews
from fake_worker import SERVE
from proxy import Proxy

sys.path.append(str(Path(__file__).resolve().parents[1] / "service"))

from serving import Backend, start_serving, wait_until

from dreamcraft3d_protocol import client as client_module
from dreamcraft3d_protocol.client import Client, remote_target
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.messages import (
    Attach,
    JobList,
    JobState,
    Pause,
    Preview,
    Result,
    Resume,
    Submit,
    Whole,
)

WORKER = Path(__file__).resolve().parent / "stream_worker.py"


class Streaming(Backend):
    """The real supervisor, with a worker that streams; its port is found anew at each connection."""

    def start(self) -> None:
        self.process = start_serving(self.data, program=("-c", SERVE, str(WORKER)))

    def where(self) -> tuple[str, int] | None:
        found = Connection.read(self.data)
        host, port = ("", "") if found is None else found.endpoint.removeprefix("tcp://").split(":")
        return None if found is None else (host, int(port))


class Artist:
    """The real client behind a proxy, and the previews of the add-on."""

    def __init__(self, backend: Streaming, proxy: Proxy) -> None:
        keys = keys_of(backend.data)
        self.client = Client(remote_target(proxy.endpoint, keys.server_pair().public, keys.client_pair()), "test", "1")
        self.previews = Previews()
        self.states: dict[str, JobState] = {}
        self.results: list[str] = []
        self.shown = 0

    def tick(self) -> None:
        for message, arrays in self.client.receive():
            if isinstance(message, JobList):
                self.states = {job.job: job for job in message.jobs}
            elif isinstance(message, JobState):
                self.states[message.job] = message
            elif isinstance(message, Preview):
                self.shown += 1
                if not self.previews.take(message, arrays):
                    self.client.send(Whole(message.job))
            elif isinstance(message, Result):
                self.results.append(message.job)

    def until(self, happened: Callable[[], bool], seconds: float = 30) -> None:
        wait_until(lambda: self.tick() is None and happened(), seconds)

    def stay(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > deadline)

    def streams(self, job: str) -> None:
        """Until some more previews of it have come."""
        shown = self.shown
        self.until(lambda: self.client.state == "open" and self.shown > shown + 20)
        assert self.states[job].state == "running"

    def held(self, job: str) -> dict[str, object]:
        """As the worker tells of what it showed last."""
        shape = self.previews.shapes[job]
        named = {"vertices": shape.vertices, "faces": shape.faces, "colours": shape.colours}
        named |= {"uv": shape.uv, "texture": shape.texture and (shape.texture.values() * 255).round()}
        named |= {subject: picture.pixels for subject, picture in self.previews.pictures[job].items()}
        values = {name: float(array.flat[0]) for name, array in named.items() if array is not None}
        return values | {"topology": shape.topology, "step": self.states[job].step}


class Stage:
    """A backend, an artist, and the cable between them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STREAM_FOLDER", str(folder))
        monkeypatch.setattr(client_module, "PING_SECONDS", 0.5)
        monkeypatch.setattr(client_module, "DEAD_SECONDS", 1.5)
        monkeypatch.setattr(client_module, "LONGEST_SECONDS", 1.5)
        self.folder = folder
        self.backend = Streaming(folder / "data")
        wait_until(lambda: self.backend.where() is not None)
        self.proxy = Proxy(self.backend.where)
        self.artist = Artist(self.backend, self.proxy)

    def close(self) -> None:
        self.artist.client.close()
        self.proxy.close()
        self.backend.close()

    def newest(self) -> dict[str, object]:
        """What the worker showed last, which shows nothing any more."""
        (self.folder / "hold").touch()
        wait_until((self.folder / "newest.json").exists)
        shown: dict[str, object] = json.loads((self.folder / "newest.json").read_text())
        return shown

    def finish(self) -> None:
        (self.folder / "finish").touch()

    # --- what happens to the connection, for so many seconds ---

    def cut(self, seconds: float) -> None:
        self.proxy.cut()
        self.artist.stay(seconds)
        self.proxy.mend()

    def pinched(self, seconds: float) -> None:
        self.proxy.pinch()
        self.artist.until(lambda: self.artist.client.state == "lost")
        self.artist.stay(seconds)
        self.proxy.mend()

    def killed(self, seconds: float) -> None:
        self.backend.kill()
        self.artist.stay(seconds)
        self.backend.start()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    stage = Stage(tmp_path, monkeypatch)
    yield stage
    stage.close()


def ordered(artist: Artist) -> str:
    job = str(uuid.uuid4())
    artist.client.send(Submit(job, "a red mushroom", "draft", 1))
    return job


def done(artist: Artist, job: str) -> Callable[[], bool]:
    return lambda: job in artist.states and artist.states[job].state == "done" and job in artist.results


@pytest.mark.parametrize("broken", [Stage.cut, Stage.pinched, Stage.killed])
def test_after_a_break_a_client_has_the_newest_of_each_kind_and_the_result_once(
    stage: Stage, broken: Callable[[Stage, float], None]
) -> None:
    artist, chance = stage.artist, random.Random(1)
    job = ordered(artist)
    for _ in range(3):
        artist.streams(job)
        artist.stay(chance.uniform(0, 0.3))
        broken(stage, chance.uniform(0, 1))
    artist.streams(job)
    newest = stage.newest()
    artist.until(lambda: artist.held(job) == newest, 10)
    broken(stage, 0.1)
    if broken is not Stage.killed:  # of which the new worker knows nothing
        artist.until(lambda: artist.client.state == "open")
        artist.stay(0.5)
        assert artist.held(job) == newest
    stage.finish()
    artist.until(done(artist, job))
    broken(stage, 0.1)
    artist.until(lambda: artist.client.state == "open")
    artist.stay(1.0)
    assert artist.results == [job]
    assert artist.states[job].state == "done"


@pytest.mark.parametrize("broken", [Stage.cut, Stage.killed])
def test_a_client_whose_previews_are_lost_is_shown_the_newest_whole_when_it_is_back(
    stage: Stage, broken: Callable[[Stage, float], None]
) -> None:
    artist = stage.artist
    job = ordered(artist)
    artist.streams(job)
    newest = stage.newest()
    artist.until(lambda: artist.held(job) == newest, 10)
    artist.previews.drop(job)
    (stage.folder / "hold").unlink()
    broken(stage, 0.1)
    artist.streams(job)
    newest = stage.newest()
    artist.until(lambda: artist.held(job) == newest, 10)


def test_what_ends_while_a_client_is_away_it_gets_once_when_it_is_back(stage: Stage) -> None:
    artist = stage.artist
    job = ordered(artist)
    artist.streams(job)
    stage.proxy.cut()
    artist.until(lambda: artist.client.state == "lost")
    stage.finish()
    wait_until(lambda: "is done" in (stage.backend.data / "serve.log").read_text())
    artist.client.send(Attach(job))  # as one who opens a file with an object of this job meanwhile
    stage.proxy.mend()
    artist.until(done(artist, job))
    artist.stay(1.0)
    assert artist.results == [job]


def test_a_result_that_takes_longer_than_an_answer_may_arrives_over_a_slow_cable(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LONGEST_SECONDS", 30.0)
    artist = stage.artist
    job = ordered(artist)
    artist.streams(job)
    stage.proxy.rate = 500_000.0
    stage.finish()
    artist.until(done(artist, job), 60)
    artist.stay(1.0)
    assert artist.results == [job]
    assert artist.client.state == "open"


def test_who_resumes_a_job_of_others_is_shown_it_again_after_a_break(stage: Stage) -> None:
    first = stage.artist
    job = ordered(first)
    first.streams(job)
    first.client.send(Pause(job))
    first.until(lambda: first.states[job].state == "paused")
    first.client.close()
    stage.artist = second = Artist(stage.backend, stage.proxy)
    second.until(lambda: second.client.state == "open")
    second.client.send(Resume(job))
    second.streams(job)
    stage.cut(0.1)
    second.streams(job)
    stage.finish()
    second.until(done(second, job))
    assert second.results == [job]
