"""Refining from a client's side: a mesh that keeps its UV map, a part that is repainted, jobs that go on from others."""

from __future__ import annotations

import json
import uuid
from typing import Any

import numpy as np
import own_uv
import pytest
from serving import Backend, Letters, has_begun, is_state, read_until, submit

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.client import Client
from dreamcraft3d_protocol.messages import (
    Attach,
    Cancel,
    Error,
    Forget,
    JobList,
    JobState,
    Message,
    Preview,
    Result,
    Resume,
)


def result_of(letters: Letters) -> dict[str, Array]:
    message, arrays = letters[-1]
    assert isinstance(message, Result)
    return dict(arrays)


def is_result(message: Message) -> bool:
    return isinstance(message, Result)


def file_of(pixels: Array) -> Array:
    return np.frombuffer(own_uv.png(pixels), np.uint8)


def test_a_masked_repaint_gives_back_the_mesh_and_all_texels_outside_the_mask(backend: Backend) -> None:
    mask = np.zeros((own_uv.HEIGHT, own_uv.WIDTH), np.uint8)
    mask[:, own_uv.WIDTH // 2 :] = 255
    sent = own_uv.ball()
    client = backend.client()
    more = {"texture": file_of(own_uv.texture()), "mask": file_of(mask)}
    submit(client, "a red ball", sent | more, first="texture")
    letters = read_until(client, is_result)
    made = result_of(letters)
    for name, array in sent.items():
        np.testing.assert_array_equal(made[name], array)
    painted = own_uv.pixels_of(made["texture"].tobytes())
    assert painted.shape == own_uv.texture().shape
    changed = (painted != own_uv.texture()).any(axis=-1)
    assert not changed[:, : own_uv.WIDTH // 2 - 3].any()
    assert changed[:, own_uv.WIDTH // 2 :].mean() > 0.95

    shown = [(m, a) for m, a in letters if isinstance(m, Preview) and m.subject == "object"]
    assert [m.form for m, _ in shown][:2] == ["mesh", "texture"]
    assert {m.form for m, _ in shown[1:]} == {"texture"}
    np.testing.assert_array_equal(shown[0][1]["vertices"], sent["vertices"])
    np.testing.assert_array_equal(shown[0][1]["faces"], sent["faces"])
    assert {m.base for m, _ in shown[1:]} == {shown[0][0].topology}
    np.testing.assert_array_equal(shown[1][1]["uv"], sent["uv"])
    assert shown[1][1]["texture"].shape == own_uv.texture().shape


@pytest.fixture(scope="session")
def shape(backend: Backend) -> tuple[str, dict[str, Array], Letters]:
    """A job until its geometry, what it made, and what a client was told."""
    client = backend.client()
    job = submit(client, until="geometry")
    letters = read_until(client, is_result)
    return job, result_of(letters), letters


def test_a_job_says_which_results_it_has(backend: Backend, shape: tuple[str, dict[str, Array], Letters]) -> None:
    told = [m.stages for m, _ in shape[2] if isinstance(m, JobState) and m.job == shape[0]]
    assert told[0] == ()
    assert told[-1] == ("coarse", "geometry")
    assert sorted(told, key=len) == told
    client = backend.client()
    client.send(Attach(shape[0]))
    state, _ = read_until(client, lambda m: isinstance(m, JobState) and m.job == shape[0])[-1]
    assert isinstance(state, JobState)
    assert state.stages == ("coarse", "geometry")


def test_a_job_goes_on_in_other_colours_when_its_base_is_deleted_and_it_was_stopped(backend: Backend) -> None:
    client = backend.client()
    base = submit(client, until="geometry")
    before = result_of(read_until(client, is_result))
    job = submit(client, "a blue mushroom", base=base, base_stage="geometry", first="texture")
    client.send(Forget(base))
    read_until(client, lambda m: isinstance(m, JobList))
    assert not (backend.data / "jobs" / base).exists()
    read_until(client, has_begun(job, "texture"))
    order = json.loads((backend.data / "jobs" / job / "order.json").read_text())
    assert order["start"]["base"] == base
    client.send(Cancel(job))
    read_until(client, is_state(job, "cancelled"))
    client.send(Resume(job))
    letters = read_until(client, is_result)
    stages = {m.stage for m, _ in letters if isinstance(m, JobState) and m.job == job and m.state == "running"}
    assert stages <= {"", "reference", "texture", "export"}
    made = result_of(letters)
    np.testing.assert_allclose(made["vertices"].min(0), before["vertices"].min(0), atol=1e-5)
    assert len(made["faces"]) == len(before["faces"])


def test_without_words_the_reference_and_the_prompt_are_the_bases(
    backend: Backend, shape: tuple[str, dict[str, Array], Letters]
) -> None:
    client = backend.client()
    job = submit(client, "", base=shape[0], base_stage="geometry", first="geometry", until="reference")
    letters = read_until(client, is_state(job, "done"))
    assert {m.prompt for m, _ in letters if isinstance(m, JobState) and m.job == job} == {"a red mushroom"}
    ours, base = (backend.data / "jobs" / j / "object" / "reference.safetensors" for j in (job, shape[0]))
    assert ours.read_bytes() == base.read_bytes()


BOX = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
FLAT = BOX | {"uv": np.zeros((3, 2), np.float32)}


@pytest.mark.parametrize(
    ("asked", "arrays", "words"),
    [
        ({"base": str(uuid.uuid4()), "base_stage": "geometry"}, {}, "no such job to go on from"),
        (
            {"base": "the shape", "base_stage": "texture"},
            {},
            "no result of its texture stage. Go on from its coarse or",
        ),
        ({"base": "the shape", "base_stage": "geometry", "first": "coarse"}, {}, "coarse comes before geometry"),
        ({"base": "the shape"}, {}, "Name both"),
        ({"base_stage": "coarse"}, {}, "Name both"),
        ({"base": "the shape", "base_stage": "geometry", "first": "texture"}, BOX, "Leave the mesh out"),
        ({"base": "the shape", "base_stage": "coarse", "prompt": "a mushrom"}, {}, "mushrom"),
        ({"first": "geometry"}, FLAT, "no place in the mesh's UV map"),
        ({"first": "texture"}, FLAT, "no area in the UV map"),
        ({"first": "texture"}, FLAT | {"uv": np.full((3, 2), 1.5, np.float32)}, "leaves its texture"),
    ],
)
def test_what_cannot_be_refined_is_refused_at_once_with_its_mend(
    backend: Backend,
    shape: tuple[str, dict[str, Array], Letters],
    asked: dict[str, Any],
    arrays: dict[str, Array],
    words: str,
) -> None:
    client: Client = backend.client()
    if asked.get("base") == "the shape":
        asked = asked | {"base": shape[0]}
    job = submit(client, arrays=arrays, **asked)
    error, _ = read_until(client, lambda m: isinstance(m, Error), seconds=20)[-1]
    assert isinstance(error, Error)
    assert (error.code, error.action, error.job) == ("user", "edit", job)
    assert words in f"{error.sentence} {error.hint}"
