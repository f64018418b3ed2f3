# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh's corners and material numbers, by its attributes: as properties of loops and polygons they go one by one."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

_CORNERS, _MATERIALS = ".corner_vert", "material_index"


def corner_vertices(mesh: bpy.types.Mesh) -> Array:
    """(L,) int32, which vertex each corner is on."""
    values = np.empty(len(mesh.loops), np.int32)
    if len(values) > 0:
        mesh.attributes[_CORNERS].data.foreach_get("value", values)
    return values


def write_corner_vertices(mesh: bpy.types.Mesh, vertices: Array) -> None:
    """Set which vertex each corner is on, (L,)."""
    mesh.attributes[_CORNERS].data.foreach_set("value", np.ascontiguousarray(vertices, np.int32))


def material_numbers(mesh: bpy.types.Mesh) -> Array:
    """(F,) int32, the slot of each face's material."""
    values = np.zeros(len(mesh.polygons), np.int32)
    if _MATERIALS in mesh.attributes:
        mesh.attributes[_MATERIALS].data.foreach_get("value", values)
    return values


def write_material_number(mesh: bpy.types.Mesh, number: int) -> None:
    """Give all faces the material of this slot."""
    attributes = mesh.attributes
    attribute = attributes.get(_MATERIALS) or attributes.new(_MATERIALS, "INT", "FACE")
    attribute.data.foreach_set("value", np.full(len(mesh.polygons), number, np.int32))
