"""Jobs from a client's side: previews, results, stopping, resuming, and what is said to mistakes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from serving import LONG_STEPS, Backend, Letters, has_begun, is_state, read_until, submit

from dreamcraft3d.pipeline.config import preset_names
from dreamcraft3d_protocol.messages import (
    Attach,
    Cancel,
    Detach,
    Error,
    Forget,
    JobList,
    Jobs,
    JobState,
    Message,
    Preview,
    Result,
    Resume,
    Submit,
    Whole,
)


@pytest.fixture(scope="session")
def draft(backend: Backend) -> tuple[str, Letters]:
    """A whole run of the draft preset: its job, and everything a client was told."""
    client = backend.client()
    job = submit(client, preset="draft", name="Mushroom")
    return job, read_until(client, lambda m: isinstance(m, Result))


def previews(letters: Letters) -> list[tuple[Preview, dict[str, np.ndarray]]]:
    return [(m, dict(a)) for m, a in letters if isinstance(m, Preview)]


def states(letters: Letters, job: str) -> list[JobState]:
    return [m for m, _ in letters if isinstance(m, JobState) and m.job == job]


def is_error(message: Message) -> bool:
    return isinstance(message, Error)


def error_to(client: Any, *asked: Any) -> Error:
    """What is said to a mistake."""
    client.send(*asked)
    message, _ = read_until(client, is_error)[-1]
    assert isinstance(message, Error)
    return message


# a whole run


def test_a_draft_shows_a_picture_then_meshes_then_colours_at_least_five_in_all(draft: tuple[str, Letters]) -> None:
    shown = [(p.stage, p.form) for p, _ in previews(draft[1]) if p.subject != "samples"]
    assert len(shown) >= 5
    assert shown[0] == ("reference", "picture")
    assert {("coarse", "mesh"), ("geometry", "mesh"), ("texture", "colours")} <= set(shown)
    meshes = [p for p, _ in previews(draft[1]) if p.form == "mesh"]
    painted = {p.topology for p, _ in previews(draft[1]) if p.stage == "texture" and p.subject == "object"}
    assert painted == {meshes[-1].topology}  # sent once: by this stage, or as the last step of the one before
    assert [p.topology for p in meshes].count(meshes[-1].topology) == 1


def test_what_the_painting_learns_from_is_shown_as_the_run_keeps_it(
    draft: tuple[str, Letters], backend: Backend
) -> None:
    shown = [(p, a["picture"]) for p, a in previews(draft[1]) if p.form == "picture"]
    assert [(p.stage, p.subject, p.caption) for p, _ in shown] == [
        ("reference", "reference", ""),
        ("reference", "surface", ""),
        ("texture", "samples", "round 1, t' 0.4"),
    ]
    strip = np.asarray(Image.open(backend.data / "jobs" / draft[0] / "object" / "reference.png"))
    np.testing.assert_array_equal(np.concatenate([shown[0][1], shown[1][1]], axis=1), strip)
    kept = Image.open(backend.data / "jobs" / draft[0] / "object" / "texture-samples-00001.png")
    np.testing.assert_array_equal(shown[2][1], np.asarray(kept))


def test_colours_are_based_on_the_mesh_shown_before_them(draft: tuple[str, Letters]) -> None:
    held = None
    for preview, arrays in previews(draft[1]):
        if preview.form == "mesh":
            held = preview.topology, len(arrays["vertices"])
        if preview.form == "colours":
            assert held == (preview.base, len(arrays["colours"]))


def test_previews_are_numbered_upward(draft: tuple[str, Letters]) -> None:
    numbers = [preview.seq for preview, _ in previews(draft[1])]
    assert numbers == sorted(set(numbers))


def test_the_states_of_a_job_tell_its_stages_in_order(draft: tuple[str, Letters]) -> None:
    told = states(draft[1], draft[0])
    assert [s.state for s in told if s.state != "running"] == ["queued", "done"]
    assert list(dict.fromkeys(s.stage for s in told)) == ["", "reference", "coarse", "geometry", "texture", "export"]
    assert [s.stage_index for s in told] == sorted(s.stage_index for s in told)
    assert {s.stage_count for s in told} == {5}
    assert all(s.name == "Mushroom" and s.prompt == "a red mushroom" and s.preset == "draft" for s in told)
    assert told[-1].seconds > 0
    assert any(s.eta_seconds is not None and s.eta_seconds > 0 for s in told)


def test_the_result_is_a_textured_mesh(draft: tuple[str, Letters]) -> None:
    result, arrays = draft[1][-1]
    assert isinstance(result, Result)
    assert result.metrics["faces"] > 500
    vertices, faces, uv = arrays["vertices"], arrays["faces"], arrays["uv"]
    assert np.unique(faces).tolist() == list(range(len(vertices)))
    assert uv.min() >= 0
    assert uv.max() <= 1
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight  # joined across the seams of the texture
    picture = Image.open(io.BytesIO(arrays["texture"].tobytes()))
    assert picture.format == "PNG"
    assert picture.width == picture.height >= 256
    scene = trimesh.load(io.BytesIO(arrays["glb"].tobytes()), file_type="glb")
    x, y, z = np.ptp(vertices, axis=0)
    np.testing.assert_allclose(np.ptp(scene.bounds, axis=0), (y, z, x), rtol=1e-4)  # glTF is y up, its front +z


def test_the_texture_coordinates_are_those_of_the_glb(draft: tuple[str, Letters]) -> None:
    arrays = draft[1][-1][1]
    body = next(iter(trimesh.load(io.BytesIO(arrays["glb"].tobytes()), file_type="glb").geometry.values()))
    np.testing.assert_allclose(body.visual.uv[body.faces].reshape(-1, 2), arrays["uv"], atol=1e-5)
    np.testing.assert_allclose(
        body.vertices[body.faces][..., [2, 0, 1]], arrays["vertices"][arrays["faces"]], atol=1e-5
    )


def test_who_attaches_later_gets_the_result(draft: tuple[str, Letters], backend: Backend) -> None:
    client = backend.client()
    client.send(Attach(draft[0]))
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert states(letters, draft[0])[-1].state == "done"
    np.testing.assert_array_equal(letters[-1][1]["vertices"], draft[1][-1][1]["vertices"])


def test_a_job_submitted_twice_is_one(draft: tuple[str, Letters], backend: Backend) -> None:
    client = backend.client()
    client.send(Submit(draft[0], "a red mushroom", "draft", 1))
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert states(letters, draft[0])[-1].state == "done"


# other ways to begin and end


def test_a_job_until_the_reference_gives_a_picture(backend: Backend) -> None:
    client = backend.client()
    job = submit(client, until="reference")
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert states(letters, job)[-1].stage_count == 1
    picture = Image.open(io.BytesIO(letters[-1][1]["picture"].tobytes()))
    (shown,) = [a["picture"] for p, a in previews(letters) if p.subject == "reference"]
    assert picture.mode == "RGBA"
    on_white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    assert np.abs(np.asarray(on_white).astype(int) - shown).max() <= 2


def test_that_picture_given_back_with_its_words_is_the_reference_again(backend: Backend) -> None:
    client = backend.client()
    submit(client, "a red mushroom", until="reference")
    first = read_until(client, lambda m: isinstance(m, Result))
    submit(client, "a red mushroom", {"picture": first[-1][1]["picture"]}, until="reference")
    second = read_until(client, lambda m: isinstance(m, Result))
    (drawn,), (given,) = (
        [a["picture"].astype(int) for p, a in previews(letters) if p.subject == "reference"]
        for letters in (first, second)
    )
    assert np.abs(drawn - given).mean() < 2


def test_a_given_mesh_is_painted_where_it_stands(backend: Backend) -> None:
    box = trimesh.creation.box((3.0, 5.0, 2.0)).subdivide().subdivide()
    box.apply_translation((40, -7, 12))
    client = backend.client()
    given = {"vertices": np.float32(box.vertices), "faces": np.int32(box.faces)}
    submit(client, "a brown box", given, first="texture")
    letters = read_until(client, lambda m: isinstance(m, Result))
    meshes = [a["vertices"] for p, a in previews(letters) if p.form == "mesh"]
    for vertices in (meshes[0], letters[-1][1]["vertices"]):
        np.testing.assert_allclose([vertices.min(0), vertices.max(0)], box.bounds, atol=1e-3)


def test_a_picture_without_words_is_enough(backend: Backend, picture_file: Path) -> None:
    client = backend.client()
    picture = np.frombuffer(picture_file.read_bytes(), np.uint8)
    submit(client, "", {"picture": picture}, until="reference")
    letters = read_until(client, lambda m: isinstance(m, Result))
    assert any("the picture reads as" in m.sentence for m, _ in letters if isinstance(m, JobState))


def test_a_picture_that_is_broken_fails_the_job_with_a_sentence(backend: Backend) -> None:
    client = backend.client()
    job = submit(client, "", {"picture": np.frombuffer(b"not a picture", np.uint8)})
    state, _ = read_until(client, lambda m: isinstance(m, JobState) and m.job == job and m.state == "failed")[-1]
    assert isinstance(state, JobState)
    assert state.error is not None
    assert (state.error.code, state.error.action) == ("user", "edit")
    assert "not a picture" in state.error.sentence
    assert str(backend.data) not in state.error.sentence + state.error.hint


# stopping and going on


def test_a_cancelled_job_stops_at_once_and_goes_on_where_it_stopped(backend: Backend) -> None:
    client = backend.client()
    job = submit(client, preset="long", until="coarse")
    read_until(client, has_begun(job, "coarse", 10))
    client.send(Cancel(job))
    letters = read_until(client, is_state(job, "cancelled"), seconds=10)
    stopped = states(letters, job)[-1].step
    assert 10 <= stopped < LONG_STEPS

    client.send(Resume(job))
    letters = read_until(client, lambda m: isinstance(m, Result))
    steps = [s.step for s in states(letters, job) if s.stage == "coarse" and s.state == "running"]
    assert min(steps) >= stopped
    progress = json.loads((backend.data / "jobs" / job / "object" / "progress.json").read_text())
    assert progress["coarse"]["steps"] == LONG_STEPS + 4


def test_who_attaches_to_a_running_job_is_shown_it_whole_and_who_detaches_no_more(backend: Backend) -> None:
    first, second = backend.client(), backend.client()
    job = submit(first, preset="long", until="coarse")
    read_until(first, lambda m: isinstance(m, Preview) and m.form == "mesh")
    for ask in (Attach(job), Whole(job)):
        second.send(ask)
        letters = read_until(second, lambda m: isinstance(m, Preview) and m.form == "mesh", seconds=10)
        assert previews(letters)[0][0].form == "picture"
    second.send(Detach(job))
    second.send(Jobs())
    read_until(second, lambda m: isinstance(m, JobList))
    read_until(first, lambda m: isinstance(m, Preview) and m.form == "mesh")
    assert previews(second.receive()) == []
    first.send(Cancel(job))
    read_until(first, is_state(job, "cancelled"))


def test_jobs_wait_in_line_and_one_that_waits_can_be_cancelled_and_deleted(backend: Backend) -> None:
    client = backend.client()
    first = submit(client, preset="long", until="coarse")
    second, third = submit(client, until="reference"), submit(client, until="reference")
    client.send(Cancel(second))
    read_until(client, is_state(second, "cancelled"))
    assert "running" in error_to(client, Forget(first)).sentence
    client.send(Cancel(first))
    letters = read_until(client, is_state(third, "done"))
    assert not any(s.state == "running" for s in states(letters, second))
    client.send(Forget(second))
    listed, _ = read_until(client, lambda m: isinstance(m, JobList))[-1]
    assert isinstance(listed, JobList)
    assert second not in {s.job for s in listed.jobs}
    assert {first, third} <= {s.job for s in listed.jobs}


def test_a_result_that_is_gone_from_the_disk_is_made_again_of_what_its_stages_left(
    backend: Backend, draft: tuple[str, Letters]
) -> None:
    job, letters = draft
    client = backend.client()
    (backend.data / "jobs" / job / "result.npz").write_bytes(b"torn")
    client.send(Attach(job))
    told = states(read_until(client, is_state(job, "failed")), job)[-1]
    assert told.error is not None
    assert (told.error.code, told.error.action) == ("lost", "resume")
    client.send(Resume(job))
    _, made = read_until(client, lambda m: isinstance(m, Result))[-1]
    assert all(np.array_equal(made[name], letters[-1][1][name]) for name in ("vertices", "faces"))


def test_a_deleted_job_leaves_nothing_on_disk(backend: Backend) -> None:
    client = backend.client()
    picture = np.frombuffer(b"not a picture either", np.uint8)
    job = submit(client, "", {"picture": picture})
    read_until(client, lambda m: isinstance(m, JobState) and m.job == job and m.state == "failed")
    kept = [p for p in (backend.data / "artefacts").glob("*/*") if p.read_bytes() == picture.tobytes()]
    assert len(kept) == 1
    client.send(Forget(job))
    read_until(client, lambda m: isinstance(m, JobList))
    assert not kept[0].exists()
    assert not (backend.data / "jobs" / job).exists()
    assert "no such job" in error_to(client, Attach(job)).sentence


# mistakes


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"prompt": "a red mushrom"}, ["mushrom", "mushroom"]),
        ({"negative": "a blorb"}, ["blorb"]),
        ({"prompt": "  "}, ["nothing to make"]),
        ({"preset": "best"}, ["best", "draft", "tiny"]),
        ({"preset": "../presets/tiny"}, ["no preset"]),
        ({"preset": 4000 * "x"}, ["no preset"]),
        ({"first": "texture"}, ["mesh"]),
    ],
)
def test_what_cannot_be_done_is_refused_at_once_with_its_mend(
    backend: Backend, asked: dict[str, str], words: list[str]
) -> None:
    client = backend.client()
    job = submit(client, **asked)
    error, _ = read_until(client, is_error, seconds=10)[-1]
    assert isinstance(error, Error)
    assert (error.code, error.action, error.job) == ("user", "edit", job)
    for word in words:
        assert word in f"{error.sentence} {error.hint}"
    client.send(Jobs())
    listed, _ = read_until(client, lambda m: isinstance(m, JobList))[-1]
    assert isinstance(listed, JobList)
    assert job not in {s.job for s in listed.jobs}


def test_a_stage_before_the_first_is_refused(backend: Backend) -> None:
    client = backend.client()
    mesh = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
    submit(client, arrays=mesh, first="texture", until="geometry")
    error, _ = read_until(client, is_error)[-1]
    assert isinstance(error, Error)
    assert "before" in error.sentence


def test_own_presets_are_offered_and_broken_ones_are_not(backend: Backend) -> None:
    broken = backend.data / "presets" / "broken.toml"
    broken.write_text("base = ")
    client = backend.client()
    assert client.welcome is not None
    assert {p.name for p in client.welcome.presets} == {*preset_names(), "tiny", "long"}
    job = submit(client, preset="broken")
    error, _ = read_until(client, is_error)[-1]
    assert isinstance(error, Error)
    assert error.job == job
    assert "broken cannot be read" in error.sentence
    broken.unlink()
