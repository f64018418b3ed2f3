# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a shape into a mesh by the fast paths: whole arrays, and no more of them than have changed."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.placement import linear, placed, standing
from ..core.previews import ALL, Part, Shape
from .topology import write_corner_vertices, write_material_number

COLOURS = "Color"
UV = "UVMap"
SEEN_BY = "dreamcraft3d_seen_by"
"""Custom property of a mesh that was sent to be sculpted: the nine numbers of the matrix it was seen by, row by row."""


def write(mesh: bpy.types.Mesh, shape: Shape) -> bool:
    """Bring a mesh up to date with what is stale of a shape; returns whether vertices or faces did change.

    It must not be in edit mode.
    """
    matrix = np.array(mesh[SEEN_BY]).reshape(3, 3) if SEEN_BY in mesh else None
    mirrored = matrix is not None and np.linalg.det(matrix) < 0
    parts = _missing(mesh, shape)
    if "faces" in parts:
        _write_faces(mesh, shape.faces[:, ::-1] if mirrored else shape.faces, len(shape.vertices))
    if "positions" in parts:
        positions = standing(shape.vertices) if matrix is None else placed(shape.vertices, matrix)
        mesh.attributes["position"].data.foreach_set("vector", positions.ravel())
    if shape.colours is not None and "colours" in parts:
        _write_colours(mesh, shape.colours)
    if shape.uv is not None and "uv" in parts:
        layer = mesh.uv_layers.get(UV) or mesh.uv_layers.new(name=UV, do_init=False)
        uv = shape.uv.reshape(-1, 3, 2)[:, ::-1] if mirrored else shape.uv
        layer.uv.foreach_set("vector", np.ascontiguousarray(uv, np.float32).ravel())
    if parts - {"texture"}:
        mesh.update(calc_edges="faces" in parts)
    if shape.final:
        mesh.validate()
    return "positions" in parts


def _missing(mesh: bpy.types.Mesh, shape: Shape) -> frozenset[Part] | set[Part]:
    """What is stale, and what the artist took away; where faces are to be written, all."""
    if "faces" in shape.stale or len(mesh.vertices) != len(shape.vertices):
        return ALL
    return shape.stale if UV in mesh.uv_layers else shape.stale | {"uv"}


def _write_faces(mesh: bpy.types.Mesh, faces: Array, vertices: int) -> None:
    """New triangles, of the material that the first face has; all else that the mesh had is gone."""
    material = mesh.polygons[0].material_index if len(mesh.polygons) > 0 else 0
    mesh.clear_geometry()
    mesh.vertices.add(vertices)
    mesh.loops.add(faces.size)
    write_corner_vertices(mesh, faces.ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    if material > 0:
        write_material_number(mesh, material)


def _write_colours(mesh: bpy.types.Mesh, colours: Array) -> None:
    attributes = mesh.color_attributes
    if COLOURS not in attributes:
        attributes.new(name=COLOURS, type="FLOAT_COLOR", domain="POINT")
        attributes.active_color_index = attributes.render_color_index = attributes.find(COLOURS)
    attributes[COLOURS].data.foreach_set("color", linear(colours).ravel())
