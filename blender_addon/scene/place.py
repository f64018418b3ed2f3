# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an object is going to stand."""

from __future__ import annotations

import bpy
from bpy_extras import view3d_utils
from mathutils import Vector
from mathutils.geometry import intersect_line_plane


def chosen(context: bpy.types.Context, form: bpy.types.PropertyGroup) -> Vector:
    """The place that the form names; on top of the active object, or where there is none, the 3D cursor."""
    if form.place == "ORIGIN":
        return Vector()
    if form.place == "DROP":
        return Vector(form.dropped)
    if form.place == "ACTIVE" and context.active_object is not None:
        return top(context.active_object)
    return context.scene.cursor.location.copy()


def top(standing: bpy.types.Object) -> Vector:
    """The middle of the upper side of an object's box in the world."""
    corners = [standing.matrix_world @ Vector(corner) for corner in standing.bound_box]
    low, high = (Vector(f(corner[i] for corner in corners) for i in range(3)) for f in (min, max))
    return Vector(((low.x + high.x) / 2, (low.y + high.y) / 2, high.z))


def under_mouse(context: bpy.types.Context, point: tuple[float, float]) -> Vector:
    """What is under the mouse in a viewport: a surface, or else the ground, or else a place as far as the 3D cursor.

    Args:
        point: in the viewport's region, pixels.
    """
    region, view = context.region, context.region_data
    origin = view3d_utils.region_2d_to_origin_3d(region, view, point)
    direction = view3d_utils.region_2d_to_vector_3d(region, view, point)
    hit, place, *_ = context.scene.ray_cast(context.evaluated_depsgraph_get(), origin, direction)
    if hit:
        return place
    ground = intersect_line_plane(origin, origin + direction, Vector(), Vector((0, 0, 1)))
    if ground is not None and (ground - origin).dot(direction) > 0 and ground.length < FAR:
        return ground
    return view3d_utils.region_2d_to_location_3d(region, view, point, context.scene.cursor.location)


FAR = 1000.0
"""The ground beyond this is no place that was meant."""
