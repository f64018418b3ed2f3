"""What is deleted of a data folder by age and by room, and that nothing in use is."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import Backend, is_state, read_until, start_serving, submit

from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.logs import Logs
from dreamcraft3d.service.order import Order, Start
from dreamcraft3d.service.retention import ALL, DAY, Limits, overdue
from dreamcraft3d.service.store import Store
from dreamcraft3d_protocol.messages import JobList

NOW = time.time()
Make = Callable[..., Job]


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


@pytest.fixture
def make(data: DataFolder) -> Make:
    def job(state: str, days: float, size: int = 1000, **more: Any) -> Job:
        """One that ended so many days ago and has a file of so many bytes."""
        order = Order(
            **{
                **{"prompt": "a red mushroom", "preset": load_preset("draft"), "seed": 1, "first": "coarse"},
                **{"until": "texture", "picture": None, "mesh": None},
                **more,
            }
        )
        made = Job(str(uuid.uuid4()), "", NOW - days * DAY, 1, order, state=state)  # type: ignore[arg-type]
        file = data.job(made.id) / "object" / "texture.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(size))
        os.utime(file, (NOW - days * DAY,) * 2)
        return made

    return job


def names(data: DataFolder, jobs: list[Job], limits: Limits, attached: tuple[str, ...] = ()) -> list[str]:
    return [job.id for job, _ in overdue(data, jobs, attached, limits, NOW)]


def test_nothing_is_deleted_unless_it_is_asked_for(data: DataFolder, make: Make) -> None:
    assert names(data, [make("done", 10000, 1 << 20)], ALL) == []


def test_jobs_that_ended_long_ago_are_deleted_oldest_first(data: DataFolder, make: Make) -> None:
    jobs = [make("done", 40), make("failed", 90), make("cancelled", 31), make("done", 29)]
    assert names(data, jobs, Limits(days=30)) == [jobs[1].id, jobs[0].id, jobs[2].id]


@pytest.mark.parametrize("state", ["queued", "running", "pausing", "paused", "cancelling"])
def test_what_is_not_at_its_end_is_never_deleted_nor_what_it_goes_on_from(
    data: DataFolder, make: Make, state: str
) -> None:
    base, other = make("done", 400, 4000), make("done", 300, 4000)
    start = Start(stage="coarse", result="ab", reference=None, base=base.id)
    going_on = make(state, 350, 4000, start=start)
    for limits in (Limits(days=30), Limits(gigabytes=0.0)):
        assert names(data, [base, other, going_on], limits) == [other.id]


def test_what_a_client_looks_at_is_kept(data: DataFolder, make: Make) -> None:
    jobs = [make("done", 400), make("done", 300)]
    assert names(data, jobs, Limits(days=30), attached=(jobs[0].id,)) == [jobs[1].id]


def test_room_is_made_by_the_oldest_and_never_by_what_ended_within_a_day(data: DataFolder, make: Make) -> None:
    jobs = [make("done", 0.5, 400_000), make("done", 3, 300_000), make("done", 9, 200_000), make("done", 6, 100_000)]
    assert names(data, jobs, Limits(gigabytes=1e-3)) == []
    assert names(data, jobs, Limits(gigabytes=0.85e-3)) == [jobs[2].id]
    assert names(data, jobs, Limits(gigabytes=0.75e-3)) == [jobs[2].id, jobs[3].id]
    assert names(data, jobs, Limits(gigabytes=0.0)) == [jobs[2].id, jobs[3].id, jobs[1].id]


def test_a_picture_that_two_jobs_were_given_makes_room_with_the_second(data: DataFolder, make: Make) -> None:
    picture = Artefacts(data.artefacts).keep(bytes(500_000))
    jobs = [make("done", days, 1000, picture=picture) for days in (30, 20, 10)]
    assert names(data, jobs, Limits(gigabytes=0.6e-3)) == []
    assert names(data, jobs, Limits(gigabytes=0.1e-3)) == [job.id for job in jobs]
    assert names(data, [*jobs[:2], make("done", 5)], Limits(gigabytes=0.1e-3)) == [jobs[0].id, jobs[1].id]


def test_a_backend_deletes_what_is_too_old_and_says_so(tmp_path: Path) -> None:
    backend = Backend(tmp_path / "data")
    try:
        client = backend.client()
        old, young = (submit(client, preset="tiny", until="reference", seed=seed) for seed in (1, 2))
        for job in (old, young):
            read_until(client, is_state(job, "done"))
        backend.terminate()
        data = DataFolder(backend.data)
        for file in data.job(old).rglob("*"):
            os.utime(file, (NOW - 50 * DAY,) * 2)
        store = Store(data.journal)
        jobs, _ = store.load()
        (aged,) = [job for job in jobs if job.id == old]
        aged.created = NOW - 50 * DAY
        store.save(aged)
        store.close()

        backend.process = start_serving(backend.data, "--keep-days", "30")
        listed, _ = read_until(backend.client(), lambda message: isinstance(message, JobList))[-1]
        assert isinstance(listed, JobList)
        assert [job.job for job in listed.jobs] == [young]
        assert not data.job(old).exists()
        assert data.job(young).is_dir()
        said = [line.message for line in Logs(backend.data).written() if line.job == old]
        assert said[-1] == f"the job {old} is deleted: it ended 50 days ago, and jobs are kept for 30"
    finally:
        backend.close()
