"""What is held of a job's shape, and what of it the scene still lacks."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from blender_addon.core.pixels import Pixels
from blender_addon.core.previews import Previews
from scripted_backend import colour_preview, mesh_preview, result

from dreamcraft3d_protocol.messages import Preview

JOB = str(uuid.UUID(int=1))


def test_a_whole_mesh_is_all_stale_and_colours_after_it_are_only_that() -> None:
    previews = Previews()
    assert previews.take(*mesh_preview(JOB, 1))
    shape = previews.shapes[JOB]
    assert "faces" in shape.stale
    shape.stale.clear()
    assert previews.take(*colour_preview(JOB, 2))
    assert shape.stale == {"colours"}
    assert np.allclose(shape.colours, 0.9)
    assert list(previews.stale()) == [JOB]


def test_uvs_are_stale_only_where_they_are_others() -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 1))
    shape = previews.shapes[JOB]
    uv = np.zeros((3 * len(shape.faces), 2), np.float32)
    for seq, sent, stale in (2, uv, {"uv", "texture"}), (3, uv.copy(), {"texture"}), (4, uv + 0.5, {"uv", "texture"}):
        shape.stale.clear()
        texture = np.zeros((4, 4, 3), np.uint8)
        assert previews.take(Preview(JOB, seq, "texture", "texture", "t", "t"), {"uv": sent, "texture": texture})
        assert shape.stale == stale


def test_colours_of_a_mesh_that_is_not_held_ask_for_the_whole() -> None:
    previews = Previews()
    assert not previews.take(*colour_preview(JOB, 1))
    previews.take(*mesh_preview(JOB, 2, "other"))
    assert not previews.take(*colour_preview(JOB, 3, "t"))


def test_colours_too_few_for_the_mesh_ask_for_the_whole() -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 1))
    preview, arrays = colour_preview(JOB, 2)
    assert not previews.take(preview, {"colours": arrays["colours"][:3]})


def test_an_older_preview_changes_nothing() -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 5))
    assert previews.take(*mesh_preview(JOB, 4, "older"))
    assert previews.shapes[JOB].topology == "t"


def test_what_was_missed_in_edit_mode_is_there_afterwards() -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 1))
    for seq in range(2, 6):
        previews.take(*colour_preview(JOB, seq, value=seq / 10))
    assert previews.shapes[JOB].stale >= {"faces", "colours"}
    assert np.allclose(previews.shapes[JOB].colours, 0.5)


def test_after_the_result_no_preview_counts() -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 1))
    previews.finish(*result(JOB))
    previews.take(*mesh_preview(JOB, 9, "late"))
    assert previews.shapes[JOB].final
    assert previews.shapes[JOB].png == b"\x01" * 8


def test_after_undo_all_of_a_shape_is_stale_again() -> None:
    previews = Previews()
    assert not previews.show_again(JOB)
    previews.take(*mesh_preview(JOB, 1))
    previews.shapes[JOB].stale.clear()
    assert previews.show_again(JOB)
    assert "faces" in previews.shapes[JOB].stale


def test_a_texture_is_for_the_scene_once_it_can_be_written_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    previews = Previews()
    previews.take(*mesh_preview(JOB, 1))
    arrays = {"uv": np.zeros((6, 2), np.float32), "texture": np.zeros((4, 4, 3), np.uint8)}
    with monkeypatch.context() as before:
        before.setattr(Pixels, "ready", False)
        assert previews.take(Preview(JOB, 2, "texture", "texture", "t", "t"), arrays)
        assert previews.stale() == {}
    texture = previews.shapes[JOB].texture
    assert texture is not None
    texture.values()
    assert previews.stale()[JOB].stale >= {"faces", "texture"}
