"""An artist's afternoon, second half: the file is opened again, the result comes, and more is made of it and of a monkey.

Run by ``run.sh`` after ``artist.py``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from driving import Condition, newest, open_sidebar, press, run, shoot, soon, stage, state, unfold, view


def attribute(mesh: Any, name: str, size: int) -> np.ndarray:
    values = np.empty(len(mesh.attributes[name].data) * size, np.float32)
    mesh.attributes[name].data.foreach_get("vector", values)
    return values


def texels(made: Any) -> np.ndarray:
    """Of the picture that the object shows, (H, W, 4)."""
    nodes = made.active_material.node_tree.nodes
    image = next(node.image for node in nodes if node.bl_idname == "ShaderNodeTexImage")
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)


def finished() -> bool:
    assert state() != "failed", newest()
    return state() == "done" and not any("dreamcraft3d_growing" in mesh for mesh in bpy.data.meshes)


def returned() -> Iterator[Condition]:
    """Step by step."""
    made = next(o for o in bpy.data.objects if o.get("dreamcraft3d_job")).name
    yield from open_sidebar()
    yield from shoot("a08-opened-again")
    yield lambda: stage() in ("texture", "export") or state() != "running"
    yield from unfold("progress", "DREAMCRAFT3D_PT_samples")
    yield from shoot("a09-painted")
    yield finished
    view()["space_data"].shading.color_type = "TEXTURE"
    yield from shoot("a10-result")

    press("mesh.primitive_monkey_add", location=(2, 0, 0.6))
    press("object.shade_smooth")
    monkey = bpy.context.object
    before, maps = monkey.data, [layer.name for layer in monkey.data.uv_layers]
    shape = attribute(before, "position", 3)
    press("view3d.view_axis", type="FRONT")
    press("view3d.view_selected")
    press("view3d.zoom", delta=-1)
    yield from unfold("refine", "DREAMCRAFT3D_PT_refine")
    yield from shoot("a11-monkey")
    press("dreamcraft3d.retexture", prompt="a brown bear", preset=os.environ["SESSION_PRESET"])
    yield finished
    monkey = bpy.context.view_layer.objects["Suzanne"]
    assert monkey.data != before
    assert np.array_equal(attribute(before, "position", 3), shape)
    assert np.array_equal(attribute(monkey.data, "position", 3), shape)
    assert [layer.name for layer in before.uv_layers] == maps
    assert not before.materials
    yield from shoot("a12-retextured")

    old = texels(monkey)
    ear = monkey.vertex_groups.new(name="Ear")
    ear.add([v.index for v in monkey.data.vertices if v.co.x < -0.75], 1.0, "REPLACE")
    press(
        "dreamcraft3d.repaint",
        prompt="a red mushroom",
        preset=os.environ["SESSION_PRESET"],
        part="GROUP",
        source="Ear",
    )
    yield finished
    changed = np.abs(texels(bpy.data.objects["Suzanne"]) - old).max(axis=-1) > 0
    sys.stdout.write(f"Repainted: {changed.mean():.1%} of the texels changed.\n")
    assert 0.01 < changed.mean() < 0.4
    yield from shoot("a13-ear-repainted")

    bpy.ops.object.select_all(action="DESELECT")
    bpy.data.objects[made].select_set(True)
    bpy.context.view_layer.objects.active = bpy.data.objects[made]
    press("view3d.view_selected")
    press("view3d.zoom", delta=-1)
    press("dreamcraft3d.mark_asset")
    yield soon()
    assert bpy.data.objects[made].asset_data is not None
    yield from unfold("object", "DREAMCRAFT3D_PT_object")
    yield from shoot("a14-asset")


run(returned())
