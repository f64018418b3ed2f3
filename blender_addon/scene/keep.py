# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of an object that grows: an ordinary object, with nothing that it shares with the original."""

from __future__ import annotations

import bpy
from mathutils import Vector

from . import material, target, versions

APART = 1.2
"""Between the middles of both, in widths of the object."""


def beside(made: bpy.types.Object) -> bpy.types.Object:
    """The object as it is now, on its right, in its collections; to be called inside an operator with undo."""
    copy = made.copy()
    copy.data = made.data.copy()
    material.part(copy.data)
    target.let_go(copy)
    versions.forget(copy)
    for collection in made.users_collection:
        collection.objects.link(copy)
    corners = [made.matrix_world @ Vector(corner) for corner in made.bound_box]
    width = max(corner.x for corner in corners) - min(corner.x for corner in corners)
    copy.matrix_world = made.matrix_world
    copy.matrix_world.translation.x += APART * width
    return copy
