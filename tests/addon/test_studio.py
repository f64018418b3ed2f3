"""What happens to jobs, with a scripted backend at the other end of real sockets."""

from __future__ import annotations

import numpy as np
import pytest
from blender_addon.core.studio import Studio, Wish
from launcher import wait_until
from scripted_backend import (
    ScriptedBackend,
    colour_preview,
    hear,
    job_state,
    mesh_preview,
    picture_preview,
    result,
    settle,
)

from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import (
    Advance,
    Attach,
    Cancel,
    Detach,
    Error,
    Forget,
    Move,
    Pause,
    PresetInfo,
    Presets,
    Resume,
    Submit,
    Whole,
)

WISH = Wish("a red mushroom", "draft", 7)


def test_a_wish_becomes_a_submission_with_a_picture(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {"picture": np.ones(4, np.uint8)})
    assert studio.jobs.in_focus("") == job
    assert studio.jobs.ordered == {job: "Red Mushroom"}
    said = hear(studio, backend, Submit)
    assert said == Submit(job, "a red mushroom", "draft", 7, name="Red Mushroom")


def test_what_cannot_be_sent_is_no_job(studio: Studio) -> None:
    with pytest.raises(ProtocolError, match="characters"):
        studio.generate(Wish("x" * 5000, "draft", 7), {})
    assert studio.jobs.in_focus("") == ""


def test_previews_are_laid_over_each_other_and_a_lost_base_is_asked_for(
    studio: Studio, backend: ScriptedBackend
) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(job_state(job), colour_preview(job, 1))
    assert hear(studio, backend, Whole) == Whole(job)
    backend.say(mesh_preview(job, 2), colour_preview(job, 3, value=0.25))
    wait_until(lambda: studio.tick(0.01) >= 0 and job in studio.previews.shapes)
    settle(studio)
    assert np.allclose(studio.previews.shapes[job].colours, 0.25)


def test_reference_and_newest_samples_are_both_held_until_another_file_is_opened(
    studio: Studio, backend: ScriptedBackend
) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(
        job_state(job), picture_preview(job, 1, "reference", 1), picture_preview(job, 2, "samples", 2, "round 1")
    )
    backend.say(mesh_preview(job, 3), picture_preview(job, 4, "samples", 4, "round 2"))
    wait_until(lambda: studio.tick(0.01) >= 0 and job in studio.previews.shapes)
    settle(studio)
    backend.say(job_state(job, "done"), result(job))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.previews.shapes[job].final)
    studio.shown(job)
    held = studio.previews.pictures[job]
    assert {subject: (int(p.pixels.max()), p.caption) for subject, p in held.items()} == {
        "reference": (1, ""),
        "samples": (4, "round 2"),
    }
    studio.watch_only([])
    assert studio.previews.pictures == {}


def test_a_shown_result_is_let_go_of(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(job_state(job, "done"), result(job))
    wait_until(lambda: studio.tick(0.01) >= 0 and job in studio.previews.stale())
    studio.shown(job)
    assert job not in studio.previews.shapes
    assert hear(studio, backend, Detach) == Detach(job)


def test_buttons_say_what_they_are_called(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    studio.cancel(job)
    studio.resume(job)
    studio.pause(job)
    studio.move(job, "front")
    studio.forget(job)
    for message in (Cancel(job), Resume(job), Pause(job), Move(job, "front"), Forget(job)):
        assert hear(studio, backend, type(message)) == message


def test_the_stage_that_is_to_end_is_the_one_that_was_seen(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(job_state(job, stage="geometry"))
    wait_until(lambda: studio.tick(0.01) >= 0 and job in studio.jobs.by_id)
    studio.advance(job)
    assert hear(studio, backend, Advance) == Advance(job, "geometry")


def test_when_all_are_paused_those_that_wait_are_first_so_that_none_begins(
    studio: Studio, backend: ScriptedBackend
) -> None:
    running, waits = studio.generate(WISH, {}), studio.generate(WISH, {})
    hear(studio, backend, Submit)
    hear(studio, backend, Submit)
    backend.say(job_state(running, position=1), job_state(waits, "queued", position=2))
    wait_until(lambda: studio.tick(0.01) >= 0 and len(studio.jobs.by_id) == 2)
    studio.pause_all()
    assert [hear(studio, backend, Pause), hear(studio, backend, Pause)] == [Pause(waits), Pause(running)]
    backend.say(job_state(running, "paused", position=1), job_state(waits, "paused", position=2))
    wait_until(lambda: studio.tick(0.01) >= 0 and len(studio.jobs.paused) == 2)
    studio.resume_all()
    assert [hear(studio, backend, Resume), hear(studio, backend, Resume)] == [Resume(running), Resume(waits)]


def test_pausing_all_does_not_save_a_job_that_was_cancelled(studio: Studio, backend: ScriptedBackend) -> None:
    cancelled, other = studio.generate(WISH, {}), studio.generate(WISH, {})
    hear(studio, backend, Submit)
    hear(studio, backend, Submit)
    backend.say(job_state(cancelled, position=1), job_state(other, "queued", position=2))
    wait_until(lambda: studio.tick(0.01) >= 0 and len(studio.jobs.by_id) == 2)
    studio.cancel(cancelled)
    studio.pause_all()
    hear(studio, backend, Cancel)
    assert hear(studio, backend, Pause) == Pause(other)
    settle(studio)
    assert not any(isinstance(message, Pause) for message in backend.serve())


def test_what_is_to_be_avoided_is_sent(studio: Studio, backend: ScriptedBackend) -> None:
    studio.generate(Wish("a red mushroom", "draft", 7, "blue"), {})
    said = hear(studio, backend, Submit)
    assert isinstance(said, Submit)
    assert said.negative == "blue"


def test_what_is_learnt_of_presets_later_takes_the_place_of_the_welcome(
    studio: Studio, backend: ScriptedBackend
) -> None:
    wait_until(lambda: studio.tick(0.01) >= 0 and backend.serve() == [] and studio.session.connected)
    backend.say(Presets((PresetInfo("draft", "Rough", 33.0),)))

    def seconds() -> list[float | None]:
        return [info.seconds for info in studio.session.welcome.presets] if studio.session.welcome else []

    wait_until(lambda: studio.tick(0.01) >= 0 and seconds() == [33.0])


def test_a_job_that_is_refused_is_told_of_once_with_its_reason(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(Error("user", "The models do not know the word blorb.", "Try ball.", "edit", job))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.rejected != [])
    assert studio.rejected == [job]
    assert studio.trouble is not None
    assert studio.trouble.hint == "Try ball."
    assert studio.jobs.in_focus(job) == ""
    studio.generate(WISH, {})
    assert studio.trouble is None


def test_an_order_is_asked_for_once_so_that_it_is_refused_once(studio: Studio, backend: ScriptedBackend) -> None:
    studio.watch([studio.generate(WISH, {})])  # as undo does
    hear(studio, backend, Submit)
    settle(studio)
    assert backend.serve() == []


def test_a_job_that_another_backend_may_have_is_not_rejected(studio: Studio, backend: ScriptedBackend) -> None:
    job = "00000000-0000-0000-0000-000000000009"
    studio.watch([job])
    hear(studio, backend, Attach)
    backend.say(Error("user", "The backend has no such job.", "It may be another backend's.", "edit", job))
    wait_until(lambda: studio.tick(0.01) >= 0 and studio.trouble is not None)
    assert studio.rejected == []


def test_another_file_watches_its_own_jobs_only(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    other = job[::-1].replace("-", "")[:32]
    other = f"{other[:8]}-{other[8:12]}-{other[12:16]}-{other[16:20]}-{other[20:]}"
    studio.watch_only([other])
    assert hear(studio, backend, Detach) == Detach(job)
    assert hear(studio, backend, Attach) == Attach(other)


def test_what_comes_late_of_a_job_that_was_let_go_of_does_not_keep_it_from_being_watched_again(
    studio: Studio, backend: ScriptedBackend
) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    studio.watch_only([])
    backend.say(mesh_preview(job, 1))
    hear(studio, backend, Detach)
    settle(studio)
    assert studio.previews.shapes == {}
    studio.watch_only([job])
    assert hear(studio, backend, Attach) == Attach(job)


def test_a_shape_that_is_held_is_shown_again_without_asking(studio: Studio, backend: ScriptedBackend) -> None:
    job = studio.generate(WISH, {})
    hear(studio, backend, Submit)
    backend.say(mesh_preview(job, 1))
    wait_until(lambda: studio.tick(0.01) >= 0 and job in studio.previews.shapes)
    studio.shown(job)
    studio.watch([job])
    assert job in studio.previews.stale()
    settle(studio)
    assert not any(isinstance(m, Attach) for m in backend.serve())
