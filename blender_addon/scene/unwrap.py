# SPDX-License-Identifier: GPL-3.0-or-later
"""A UV map for any mesh, by Blender's own Smart UV Project."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.refinement import RefineError
from .topology import corner_vertices, write_corner_vertices

ANGLE = math.radians(66)
MARGIN = 0.01
"""Between islands, in widths of the image: some texels at the sizes that are painted."""


def add_map(context: bpy.types.Context, mesh: bpy.types.Mesh, name: str, matrix: Array) -> str:
    """Unwrap a mesh into a new UV map, which becomes the one that is painted on; returns its name.

    Args:
        name: of the map, if it is free.
        matrix: (3, 3); islands are as large as the faces are after it.

    Operators see no viewport meanwhile: one that shows a few objects alone (local view) would hide this one from them.

    Raises:
        RefineError: the mesh has no faces or as many maps as it can have, or cannot be unwrapped.
    """
    if len(mesh.polygons) == 0:  # Blender would not unwrap it, from 5.2 on with an error
        raise RefineError("The object has no faces. Choose one that has.")
    with _scratch(context, mesh, matrix) as scratch, context.temp_override(area=None, region=None):
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(angle_limit=ANGLE, island_margin=MARGIN)
        bpy.ops.object.mode_set(mode="OBJECT")
        if len(scratch.loops) != len(mesh.loops) or not scratch.uv_layers:
            raise RefineError("Blender cannot unwrap this mesh. Clean it up first: Mesh, Clean Up, Delete Loose.")
        uv = np.empty(2 * len(scratch.loops), np.float32)
        scratch.uv_layers[0].uv.foreach_get("vector", uv)
    layer = mesh.uv_layers.new(name=name, do_init=False)
    if layer is None:
        raise RefineError("The mesh has as many UV maps as Blender allows. Remove one, or choose one to paint into.")
    layer.uv.foreach_set("vector", uv)
    layer.active = True
    return str(layer.name)


@contextmanager
def _scratch(context: bpy.types.Context, mesh: bpy.types.Mesh, matrix: Array) -> Iterator[bpy.types.Mesh]:
    """The bare faces of a mesh in an object of their own, which alone is selected; all is as before afterwards."""
    active, selected = context.view_layer.objects.active, context.selected_objects
    bare = bpy.data.meshes.new("DreamCraft3D")
    positions = np.empty(3 * len(mesh.vertices), np.float32)
    corners, starts = corner_vertices(mesh), np.empty(len(mesh.polygons), np.int32)
    mesh.attributes["position"].data.foreach_get("vector", positions)
    mesh.polygons.foreach_get("loop_start", starts)
    bare.vertices.add(len(mesh.vertices))
    bare.loops.add(len(corners))
    bare.polygons.add(len(starts))
    seen = np.ascontiguousarray(positions.reshape(-1, 3) @ matrix.T, np.float32)
    bare.attributes["position"].data.foreach_set("vector", seen.ravel())
    write_corner_vertices(bare, corners)
    bare.polygons.foreach_set("loop_start", starts)
    bare.update(calc_edges=True)
    scratch = bpy.data.objects.new("DreamCraft3D", bare)
    context.scene.collection.objects.link(scratch)
    try:
        for other in selected:
            other.select_set(False)
        scratch.select_set(True)
        context.view_layer.objects.active = scratch
        yield bare
    finally:
        bpy.data.objects.remove(scratch)
        bpy.data.meshes.remove(bare)
        for other in selected:
            other.select_set(True)
        context.view_layer.objects.active = active
