# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a mesh is meant: how much each of its corners is."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.refinement import RefineError
from .topology import corner_vertices

WEIGHT = "dreamcraft3d_part"
"""An attribute of the corners, for as long as it takes to send them: so modifiers carry it along."""


def selected(mesh: bpy.types.Mesh) -> Array:
    """(L,) float32: 1 on the corners of faces that are selected in edit mode, else 0.

    Raises:
        RefineError: none is selected.
    """
    chosen = np.empty(len(mesh.polygons), bool)
    mesh.polygons.foreach_get("select", chosen)
    sides = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", sides)
    return _some(np.repeat(chosen, sides), "No faces are selected. Select some in Edit Mode.")


def in_group(thing: bpy.types.Object, name: str) -> Array:
    """(L,) float32 in [0, 1]: the weights of a vertex group.

    Raises:
        RefineError: there is no such group, or nothing in it.
    """
    group = thing.vertex_groups.get(name)
    if group is None:
        raise RefineError(f"The object has no vertex group {name!r}. Choose one." if name else "Choose a vertex group.")
    vertices = thing.data.vertices
    weights = [next((g.weight for g in v.groups if g.group == group.index), 0.0) for v in vertices]
    values = np.array(weights, np.float32)[corner_vertices(thing.data)]
    return _some(values, f"No face has a vertex in the group {name}. Assign some, or choose another.")


def in_attribute(mesh: bpy.types.Mesh, name: str) -> Array:
    """(L,) float32 in [0, 1]: how light a color attribute is.

    Raises:
        RefineError: there is no such attribute, or it is black.
    """
    attribute = mesh.color_attributes.get(name)
    if attribute is None:
        wrong = f"The mesh has no color attribute {name!r}. Choose one." if name else "Choose a color attribute."
        raise RefineError(wrong)
    values = np.empty(4 * len(attribute.data), np.float32)
    attribute.data.foreach_get("color", values)
    light = values.reshape(-1, 4)[:, :3].max(axis=1).clip(0, 1)
    values = light if attribute.domain == "CORNER" else light[corner_vertices(mesh)]
    return _some(values, f"The color attribute {name} is black. Paint white what shall be repainted.")


def lay_on(mesh: bpy.types.Mesh, weights: Array) -> None:
    """Have a mesh carry weights of its corners."""
    attribute = mesh.attributes.new(WEIGHT, "FLOAT", "CORNER")
    attribute.data.foreach_set("value", weights)


def read(mesh: bpy.types.Mesh) -> Array:
    """(L,) float32 in [0, 1], as they were laid on, or as modifiers have made them."""
    values = np.empty(len(mesh.loops), np.float32)
    mesh.attributes[WEIGHT].data.foreach_get("value", values)
    return values.clip(0, 1)


def take_off(mesh: bpy.types.Mesh) -> None:
    """The mesh carries no weights any more."""
    mesh.attributes.remove(mesh.attributes[WEIGHT])


def _some(weights: Array, otherwise: str) -> Array:
    if not (weights > 0).any():
        raise RefineError(otherwise)
    return weights.astype(np.float32)
