# SPDX-License-Identifier: GPL-3.0-or-later
"""An object as it is sent to the backend: triangles as the eye sees them from the object's front."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import bpy
import numpy as np
from mathutils import Matrix

from dreamcraft3d_protocol.arrays import Array

from ..core.placement import turned_back
from ..core.refinement import RefineError
from .topology import corner_vertices


def upright(thing: bpy.types.Object) -> Array:
    """What the object's own axes are on the way to the eye: its scale and how it is tilted, but not where it heads.

    So an object is seen from its own front, as if it stood at the origin; one whose own axes lie down, as those that come
    from other programs often do, stands.

    Returns:
        (3, 3) float64; its determinant is negative where the object is mirrored.

    Raises:
        RefineError: the object is flat or a point, by its scale.
    """
    seen = thing.matrix_world.to_3x3()
    if abs(seen.determinant()) < 1e-12 * max(max(abs(value) for value in row) for row in seen) ** 3:
        raise RefineError("The object's scale is zero in some direction. Give it one that is not.")
    turn = (seen @ Matrix.Scale(-1, 3, (1, 0, 0)) if seen.determinant() < 0 else seen).to_quaternion()
    heading = turn.inverted().to_swing_twist("Z")[1]
    return np.array(Matrix.Rotation(heading, 3, "Z") @ seen, np.float64)


TWICE = 1.1
"""A UV map that modifiers make so many times as large has parts of the image on it twice."""


@contextmanager
def as_seen(context: bpy.types.Context, thing: bpy.types.Object, needs: str) -> Iterator[bpy.types.Mesh]:
    """The object's mesh with its modifiers and shape keys; without them where they lose a UV map that is needed, or show
    parts of it twice, as mirrors do: those could not be painted apart."""
    seen = thing.evaluated_get(context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    try:
        kept = mesh is not None and len(mesh.polygons) > 0 and needs in mesh.uv_layers
        once = kept and _uv_area(mesh, needs) < TWICE * _uv_area(thing.data, needs)
        yield mesh if once else thing.data
    finally:
        seen.to_mesh_clear()


def triangles(
    mesh: bpy.types.Mesh, matrix: Array, corners: Mapping[str, Array], points: Mapping[str, Array]
) -> dict[str, Array]:
    """A mesh in the backend's axes, counter-clockwise from outside.

    Args:
        matrix: (3, 3), from the mesh's axes to those of the eye, as :func:`upright` gives it.
        corners: values for each of the mesh's corners (loops), by name.
        points: values for each of its vertices, by name.

    Returns:
        ``vertices``, those that faces have; ``faces``; the values for each corner of each triangle, and each vertex.

    Raises:
        RefineError: there are no faces.
    """
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    if count == 0:
        raise RefineError("The object has no faces. Choose one that has.")
    loops = np.empty(3 * count, np.int32)
    mesh.loop_triangles.foreach_get("loops", loops)
    if np.linalg.det(matrix) < 0:
        loops = np.ascontiguousarray(loops.reshape(-1, 3)[:, ::-1]).ravel()
    positions = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", positions)
    used, faces = np.unique(corner_vertices(mesh)[loops], return_inverse=True)
    vertices = turned_back(positions.reshape(-1, 3)[used] @ matrix.T)
    sent = {name: values[loops] for name, values in corners.items()}
    sent |= {name: values[used] for name, values in points.items()}
    return {"vertices": vertices, "faces": faces.reshape(-1, 3).astype(np.int32), **sent}


def _uv_area(mesh: bpy.types.Mesh, name: str) -> float:
    """Of all triangles in a UV map."""
    mesh.calc_loop_triangles()
    loops = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("loops", loops)
    corners = uv_of(mesh, name)[loops].reshape(-1, 3, 2)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return float(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2)


def uv_of(mesh: bpy.types.Mesh, name: str) -> Array:
    """(L, 2) float32, a UV map of a mesh corner by corner."""
    values = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers[name].uv.foreach_get("vector", values)
    return values.reshape(-1, 2)
