"""The list of jobs is always one that can be sent, however wordy the jobs are, and leaves none out for good."""

from __future__ import annotations

import uuid

import pytest

from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.listing import MAX_LISTED, listed
from dreamcraft3d.service.order import Order
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.messages import BACKEND_KINDS, MAX_TEXT, Fault, JobList

LONGEST = "\N{MUSHROOM}" * MAX_TEXT


def jobs(count: int, words: str) -> list[Job]:
    order = Order(
        **{"prompt": words, "preset": load_preset("draft"), "seed": 0, "first": "coarse", "until": "texture"},
        **{"picture": None, "mesh": None},
    )
    return [Job(str(uuid.uuid4()), "a mushroom", float(number), number, order) for number in range(count)]


def sent(message: JobList) -> JobList:
    received, _ = decode([bytes(frame) for frame in encode(message)], BACKEND_KINDS)
    assert isinstance(received, JobList)
    return received


@pytest.mark.parametrize("words", ["a red mushroom", LONGEST])
def test_a_hundred_jobs_are_listed_in_messages_that_can_be_sent(words: str) -> None:
    known = jobs(MAX_LISTED, words)
    known[3].state = "running"
    first = sent(listed(known))
    assert {known[3].id, known[4].id, known[-1].id} <= {job.job for job in first.jobs}
    assert (first.total, first.waiting) == (MAX_LISTED, MAX_LISTED - 1)
    assert [job.created for job in first.jobs] == sorted(job.created for job in first.jobs)
    seen, before = [], float(MAX_LISTED)
    while page := sent(listed(known, before)).jobs:
        seen += [job.job for job in reversed(page)]
        before = page[0].created
    assert seen == [job.id for job in reversed(known)]


def test_the_wordiest_job_there_can_be_is_listed() -> None:
    (wordiest,) = jobs(1, LONGEST)
    wordiest.name, wordiest.sentence, wordiest.error = LONGEST, LONGEST, Fault(LONGEST, LONGEST, LONGEST, LONGEST)
    assert len(sent(listed([wordiest])).jobs) == 1


def test_the_job_that_runs_is_listed_however_many_older_ones_rest() -> None:
    known = jobs(2 * MAX_LISTED, "a red mushroom")
    for job in known:
        job.state = "paused"
    known[MAX_LISTED].state = "running"
    assert known[MAX_LISTED].id in {job.job for job in listed(known).jobs}
