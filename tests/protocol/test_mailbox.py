"""Newest preview wins, and nothing else is lost or overtaken."""

from __future__ import annotations

import uuid
from dataclasses import replace

from dreamcraft3d_protocol.mailbox import Mailbox
from dreamcraft3d_protocol.messages import (
    Error,
    JobState,
    Message,
    ModelList,
    Pong,
    PresetInfo,
    Presets,
    Preview,
    Result,
    Subject,
)

ONE, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
RUNNING = JobState(ONE, "", "", "draft", 0, "running", "coarse", 1, 4, 0, 9, 0.0, None, "", None, 0.0)


def mesh(seq: int, job: str = ONE) -> Preview:
    return Preview(job, seq, "geometry", "mesh", f"topology {seq}", None)


def colours(seq: int, base: int, job: str = ONE) -> Preview:
    return Preview(job, seq, "texture", "colours", f"topology {base}", f"topology {base}")


def left_of(*messages: Message) -> list[Message]:
    box = Mailbox()
    for message in messages:
        box.put(message, {})
    return [box.take()[0] for _ in range(len(box))]


def test_of_many_meshes_the_newest_is_left() -> None:
    assert left_of(*(mesh(i) for i in range(1000))) == [mesh(999)]


def test_a_mesh_is_kept_for_the_colours_that_are_based_on_it() -> None:
    assert left_of(mesh(1), colours(2, 1), colours(3, 1)) == [mesh(1), colours(3, 1)]


def test_a_new_mesh_drops_the_colours_of_the_old() -> None:
    assert left_of(mesh(1), colours(2, 1), mesh(3)) == [mesh(3)]


def test_a_result_drops_what_was_shown_of_its_objects_shape_and_nothing_else() -> None:
    sample, result = picture(4, "samples"), Result(ONE, {})
    assert left_of(mesh(1), colours(2, 1), mesh(3, OTHER), sample, result) == [mesh(3, OTHER), sample, result]


def test_positions_and_colours_do_not_drop_each_other() -> None:
    positions = replace(colours(2, 1), form="positions")
    assert left_of(mesh(1), positions, colours(3, 1)) == [mesh(1), positions, colours(3, 1)]


def picture(seq: int, subject: Subject) -> Preview:
    return Preview(ONE, seq, "texture", "picture", "", None, subject)


def test_pictures_are_not_dropped_for_a_mesh() -> None:
    reference, samples = picture(1, "reference"), picture(2, "samples")
    assert left_of(reference, samples, mesh(3), mesh(4)) == [reference, samples, mesh(4)]


def test_of_pictures_the_newest_of_each_subject_is_left() -> None:
    first, second = [picture(1, "reference"), picture(2, "samples")], [picture(3, "samples"), picture(4, "reference")]
    assert left_of(*first) == first
    assert left_of(*first, *second) == second
    assert left_of(mesh(0), *first, colours(5, 0)) == [mesh(0), *first, colours(5, 0)]


def test_jobs_do_not_drop_each_others_previews() -> None:
    assert left_of(mesh(1), mesh(1, OTHER), mesh(2)) == [mesh(1, OTHER), mesh(2)]


def test_a_preview_overtakes_no_message_that_came_before_it() -> None:
    said = [Error(str(i), "", job=ONE) for i in range(3)]
    assert left_of(mesh(1), said[0], mesh(2), said[1], mesh(3), said[2]) == [said[0], said[1], mesh(3), said[2]]


def test_what_is_told_is_all_kept_in_order_and_of_signs_of_life_the_newest() -> None:
    said = (Error("1", ""), Pong(), Error("2", ""), Pong(), Error("3", ""))
    assert left_of(*said) == [said[0], said[2], *said[3:]]


def test_of_mere_progress_the_newest_is_left_and_every_change_of_state_is_kept() -> None:
    steps = [replace(RUNNING, step=i) for i in range(50)]
    next_stage = replace(RUNNING, stage="geometry")
    done = replace(RUNNING, state="done")
    assert left_of(*steps, next_stage, done) == [steps[-1], next_stage, done]


def test_of_lists_of_presets_the_newest_is_left_and_no_list_of_models_is_dropped_for_it() -> None:
    models = ModelList((), "", 0.0)
    old, new = (Presets((PresetInfo("draft", "", seconds, None, ()),)) for seconds in (1.0, 2.0))
    assert left_of(old, models, new) == [models, new]
