"""The picture that is looked at before an object is ordered from it, with a scripted backend."""

from __future__ import annotations

import numpy as np
from blender_addon.core.studio import Studio, Wish
from launcher import wait_until
from scripted_backend import ScriptedBackend, hear, job_state, settle

from dreamcraft3d_protocol.messages import Cancel, Error, Fault, Forget, Result, State, Submit

WISH = Wish("a red mushroom", "draft", 7)
SAID = 'Words used: "a red mushroom".'


def draft(studio: Studio, backend: ScriptedBackend, seed: int = 7) -> str:
    """One that was ordered; its job."""
    studio.preview_picture(Wish(WISH.prompt, WISH.preset, seed), {}, seed)
    said = hear(studio, backend, Submit)
    assert isinstance(said, Submit)
    assert (said.until, said.seed) == ("reference", seed)
    return said.job


def tell(studio: Studio, backend: ScriptedBackend, job: str, state: State, sentence: str = "") -> None:
    backend.say(job_state(job, state, stage_count=1, sentence=sentence))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.jobs.state(job) == state)


def deliver(studio: Studio, backend: ScriptedBackend, job: str) -> None:
    tell(studio, backend, job, "running", SAID)
    tell(studio, backend, job, "done")
    backend.say((Result(job, {}), {"picture": np.arange(8, dtype=np.uint8)}))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.draft is not None and studio.draft.png != b"")


def test_a_draft_is_the_picture_of_an_order_with_the_same_basis_and_of_no_other(
    studio: Studio, backend: ScriptedBackend
) -> None:
    job = draft(studio, backend)
    assert studio.reference(7) is None
    deliver(studio, backend, job)
    assert studio.draft is not None
    assert studio.draft.words == SAID
    arrays = studio.reference(7)
    assert arrays is not None
    assert arrays["picture"].tobytes() == bytes(range(8))
    assert studio.reference(8) is None


def test_a_discarded_draft_is_forgotten_by_the_backend(studio: Studio, backend: ScriptedBackend) -> None:
    job = draft(studio, backend)
    deliver(studio, backend, job)
    studio.discard_draft()
    assert studio.draft is None
    assert hear(studio, backend, Forget) == Forget(job)


def test_a_draft_that_is_discarded_while_it_is_made_is_stopped_and_then_forgotten(
    studio: Studio, backend: ScriptedBackend
) -> None:
    job = draft(studio, backend)
    studio.discard_draft()  # before the backend has answered
    tell(studio, backend, job, "running")
    assert hear(studio, backend, Cancel) == Cancel(job)
    tell(studio, backend, job, "cancelling")
    settle(studio)
    assert not any(isinstance(m, Forget) for m in backend.serve())
    tell(studio, backend, job, "cancelled")
    assert hear(studio, backend, Forget) == Forget(job)


def test_another_draft_takes_the_place_of_the_first(studio: Studio, backend: ScriptedBackend) -> None:
    first = draft(studio, backend)
    deliver(studio, backend, first)
    second = draft(studio, backend, seed=8)
    assert hear(studio, backend, Forget) == Forget(first)
    assert studio.draft is not None
    assert studio.draft.job == second
    assert studio.reference(7) is None


def test_a_draft_of_words_that_nobody_knows_is_told_of_and_is_gone(studio: Studio, backend: ScriptedBackend) -> None:
    job = draft(studio, backend)
    backend.say(Error("user", "The models do not know the word blorb.", "Try ball.", "edit", job))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.trouble is not None)
    assert studio.draft is None


def test_a_draft_that_fails_is_kept_with_its_reason(studio: Studio, backend: ScriptedBackend) -> None:
    job = draft(studio, backend)
    fault = Fault("user", "No object stands out in the picture.", "Give another.", "edit")
    backend.say(job_state(job, "failed", stage_count=1, error=fault))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.jobs.fault(job) == fault)
    assert studio.draft is not None


def test_a_picture_alone_is_never_the_job_in_focus(studio: Studio, backend: ScriptedBackend) -> None:
    job = draft(studio, backend)
    tell(studio, backend, job, "running")
    assert studio.jobs.in_focus("") == ""
    assert not studio.jobs.has_object(job)
