# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy of an object that grows: an ordinary object, with nothing that it shares with the original."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from . import material, target

APART = 1.2
"""Between the middles of both, in widths of the object."""


def beside(made: bpy.types.Object) -> bpy.types.Object:
    """The object as it is now, on its right, in its collections; to be called inside an operator with undo."""
    copy = made.copy()
    copy.data = made.data.copy()
    for mark in (target.JOB, target.GROWING):
        for marked in (copy, copy.data):
            if mark in marked:
                del marked[mark]
    for index, shared in enumerate(copy.data.materials):
        if shared is not None and shared.get(material.OURS):
            copy.data.materials[index] = _own(shared)
    corners = [made.matrix_world @ Vector(corner) for corner in made.bound_box]
    width = max(corner.x for corner in corners) - min(corner.x for corner in corners)
    for collection in made.users_collection:
        collection.objects.link(copy)
    copy.matrix_world = made.matrix_world
    copy.matrix_world.translation.x += APART * width
    return copy


def _own(shared: bpy.types.Material) -> bpy.types.Material:
    """A copy of a material, with copies of its images."""
    own = shared.copy()
    del own[material.OURS]
    for node in own.node_tree.nodes:
        if getattr(node, "image", None) is not None:
            node.image = _pixels(node.image)
    return own


def _pixels(image: bpy.types.Image) -> bpy.types.Image:
    """Another image with the same pixels, packed; Blender's own copy has none that were not saved."""
    copy = bpy.data.images.new(image.name, *image.size)
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    copy.pixels.foreach_set(values)
    copy.pack()
    return copy
