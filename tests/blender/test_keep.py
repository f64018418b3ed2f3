"""Keep This One: the copy is as the object was, shares nothing with it, and is not written again."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
from fake_layout import draw
from growing import FACES, JOB, MESH, UV, VERTICES, Growing, positions

from dreamcraft3d_protocol.messages import JobList, JobState

Part = Callable[[str], ModuleType]
PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def painted(blender: Any, part: Part) -> Growing:
    """An object that is being painted red."""
    growing = Growing(part)
    growing.preview("mesh", **MESH)
    red = PICTURE.copy()
    red[..., 0] = 255
    growing.preview("texture", uv=UV, texture=red)
    growing.sync()
    return growing


def kept() -> Any:
    (copy,) = [o for o in bpy.data.objects if o.type == "MESH" and "dreamcraft3d_job" not in o]
    return copy


def image_of(made: Any) -> Any:
    nodes = made.data.materials[0].node_tree.nodes
    return next(node.image for node in nodes if node.bl_idname == "ShaderNodeTexImage")


def test_the_copy_is_an_object_of_its_own_beside_the_one_that_grows(painted: Growing) -> None:
    bpy.context.view_layer.update()
    assert bpy.ops.dreamcraft3d.keep(job=JOB) == {"FINISHED"}
    copy, made = kept(), painted.object
    assert np.allclose(positions(copy), positions(made))
    assert (copy.data, copy.data.materials[0], image_of(copy)) != (made.data, made.data.materials[0], image_of(made))
    assert not [
        key for one in (copy, copy.data, copy.data.materials[0]) for key in dict(one.items()) if "dreamcraft" in key
    ]
    assert [c.name for c in copy.users_collection] == [c.name for c in made.users_collection]
    bpy.context.view_layer.update()
    width = max(c[0] for c in made.bound_box) * 2 * made.scale[0]
    assert copy.location.x - made.location.x == pytest.approx(1.2 * width, rel=1e-4)
    assert copy.location.yz == made.location.yz
    assert painted.target.growing(made)


def test_the_copy_stays_as_it_is_while_the_object_goes_on(painted: Growing) -> None:
    bpy.ops.dreamcraft3d.keep(job=JOB)
    painted.preview("mesh", vertices=VERTICES * [1, 1, 3], faces=FACES, colours=MESH["colours"])
    blue = PICTURE.copy()
    blue[..., 2] = 255
    painted.preview("texture", uv=UV, texture=blue)
    painted.sync()
    assert not np.allclose(positions(kept()), positions(painted.object))
    assert tuple(image_of(kept()).pixels[:3]) == (1, 0, 0)
    assert tuple(image_of(painted.object).pixels[:3]) == (0, 0, 1)
    before = positions(kept())
    painted.result()
    painted.sync()
    assert np.array_equal(positions(kept()), before)
    assert image_of(kept()).packed_file is not None  # so that it is in the file


def test_undo_takes_the_copy_away_and_leaves_what_grows(painted: Growing) -> None:
    bpy.ops.ed.undo_push(message="Before")
    bpy.ops.dreamcraft3d.keep(job=JOB)
    bpy.ops.ed.undo_push(message="Keep")
    bpy.ops.ed.undo()
    assert [o for o in bpy.data.objects if o.type == "MESH"] == [painted.object]
    assert painted.target.growing(painted.object)


def test_before_the_first_shape_there_is_nothing_to_keep(blender: Any, part: Part) -> None:
    Growing(part)
    with pytest.raises(RuntimeError, match="Wait for the first shape"):
        bpy.ops.dreamcraft3d.keep(job=JOB)


def test_the_button_is_there_while_the_object_grows_and_has_a_shape(painted: Growing, part: Part) -> None:
    state = JobState(JOB, "M", "m", "draft", 0, "running", "coarse", 1, 4, 3, 9, 1.0, 9.0, "", None, 1.0)
    painted.studio.jobs.take(JobList((state,)))
    panel = part("panels.progress").DREAMCRAFT3D_PT_progress
    assert "dreamcraft3d.keep" in draw(panel).buttons
    painted.result()
    painted.sync()
    assert "dreamcraft3d.keep" not in draw(panel).buttons


def test_an_object_whose_job_is_not_on_this_backend_says_so_and_can_be_kept(
    painted: Growing, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = part("panels.progress").DREAMCRAFT3D_PT_progress
    assert "does not have the job" not in " ".join(draw(panel).said)  # no backend has told what it has
    monkeypatch.setattr(part("core.session").Session, "connected", True)
    drawn = draw(panel)
    assert "does not have the job of this object" in " ".join(drawn.said)
    assert drawn.buttons.count("dreamcraft3d.keep") == 1
    painted.object.select_set(False)
    bpy.context.view_layer.objects.active = None
    assert "does not have the job" not in " ".join(draw(panel).said)
