"""A journal that is damaged loses no job. Seen to fail without the folders, without the rows, and without the check."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import replace

import numpy as np
import pytest

from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order, order_file
from dreamcraft3d.service.recovery import FOUND, open_journal
from dreamcraft3d.service.result import write_result

COUNT = 200


def fill(data: DataFolder) -> list[Job]:
    """Jobs as a supervisor leaves them: in the journal and in their folders; the first is done, the second has failed."""
    preset = load_preset("tiny", data.presets)
    order = Order(prompt="a red car", preset=preset, seed=0, first="coarse", until="texture", picture=None, mesh=None)
    jobs = [Job(str(uuid.uuid4()), f"job {i}", 100.0 + i, i + 1, order) for i in range(COUNT)]
    jobs[0].state, jobs[1].state = "done", "failed"
    store = open_journal(data)
    for job in jobs:
        store.save(job)
        folder = data.job(job.id)
        folder.mkdir(parents=True)
        order_file(folder).write_text(order.model_dump_json())
    write_result(data.job(jobs[0].id), {}, {"vertices": np.zeros((1, 3), np.float32)})
    store.close()
    return jobs


def reopened(data: DataFolder) -> dict[str, Job]:
    store = open_journal(data)
    jobs, unread = store.load()
    store.close()
    assert unread == []
    return {job.id: job for job in jobs}


def test_one_that_is_nothing_but_noise_is_found_again_by_the_folders(data: DataFolder) -> None:
    jobs = fill(data)
    noise = np.random.default_rng(0).bytes(4096)
    data.journal.write_bytes(noise)
    (data.path / "jobs" / "mine").mkdir()
    order_file(data.job(jobs[2].id)).write_text("{")
    found = reopened(data)
    assert set(found) == {job.id for job in jobs} - {jobs[2].id}
    assert found[jobs[0].id].state == "done"
    assert all(job.state == "paused" and job.sentence == FOUND for job in found.values() if job.id != jobs[0].id)
    assert (data.path / "jobs-damaged-1.sqlite3").read_bytes() == noise
    assert {job.id for job in reopened(data).values()} == set(found)
    assert not (data.path / "jobs-damaged-2.sqlite3").exists()


def test_one_with_a_hole_keeps_what_can_be_read_and_finds_the_rest(data: DataFolder) -> None:
    jobs = fill(data)
    whole = data.journal.read_bytes()
    middle = len(whole) // 2
    data.journal.write_bytes(whole[:middle] + bytes(64 << 10) + whole[middle + (64 << 10) :])
    with pytest.raises(sqlite3.DatabaseError), sqlite3.connect(data.journal) as broken:
        broken.execute("SELECT * FROM jobs").fetchall()
    found = reopened(data)
    assert set(found) == {job.id for job in jobs}
    assert found[jobs[1].id].state == "failed"  # which its folder does not say
    assert found[jobs[1].id].name == "job 1"
    assert any(job.sentence == FOUND for job in found.values())
    assert len({job.position for job in found.values()}) == COUNT


def test_one_that_has_lost_its_newest_pages_unnoticed_loses_no_job(data: DataFolder) -> None:
    jobs = fill(data)
    store = open_journal(data)
    late = replace(jobs[2], id=str(uuid.uuid4()))
    data.job(late.id).mkdir()
    order_file(data.job(late.id)).write_text(late.order.model_dump_json())
    store.save(late)
    kept = data.journal.read_bytes()  # without what SQLite has only noted beside it
    store.close()
    data.journal.write_bytes(kept)
    found = reopened(data)
    assert set(found) == {job.id for job in jobs} | {late.id}
    assert (found[late.id].state, found[late.id].position) == ("paused", COUNT + 1)
    assert found[jobs[1].id].state == "failed"
    assert not list(data.path.glob("jobs-damaged*"))


def test_a_damaged_row_costs_no_other_job(data: DataFolder) -> None:
    jobs = fill(data)
    with sqlite3.connect(data.journal) as journal:
        journal.execute("UPDATE jobs SET state = 'qugued' WHERE id = ?", (jobs[3].id,))
        journal.execute("UPDATE jobs SET position = 'x' WHERE id = ?", (jobs[4].id,))
    journal.close()
    store = open_journal(data)
    read, unread = store.load()
    store.close()
    assert set(unread) == {jobs[3].id, jobs[4].id}
    assert len(read) == COUNT - 2


def test_one_of_an_earlier_version_is_read(data: DataFolder) -> None:
    jobs = fill(data)
    with sqlite3.connect(data.journal) as journal:
        journal.execute("ALTER TABLE jobs DROP COLUMN begun")
    journal.close()
    assert {job.begun for job in reopened(data).values()} == {0}
    assert len(reopened(data)) == len(jobs)
