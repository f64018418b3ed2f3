# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a finished object at the artist's wish: its size, and fewer faces, without touching its mesh."""

from __future__ import annotations

import bpy

REDUCED = "Reduce Faces"
"""The modifier's name."""


def size(made: bpy.types.Object) -> float:
    """The larger side in the scene's units, modifiers and parents included."""
    return max(made.dimensions)


def set_size(context: bpy.types.Context, made: bpy.types.Object, wanted: float) -> bool:
    """Scale an object so that its larger side is ``wanted`` long; its children stay as they are.

    Returns:
        False if it has no extent that could be scaled.
    """
    context.view_layer.update()
    now = size(made)
    if now == 0:
        return False
    places = [(child, child.matrix_world.copy()) for child in made.children]
    made.scale = made.scale * (wanted / now)
    context.view_layer.update()
    for child, place in places:
        child.matrix_world = place
    return True


def faces(context: bpy.types.Context, made: bpy.types.Object) -> int:
    """As triangles, which the modifier counts, too; with all modifiers, as it is seen."""
    shown = made.evaluated_get(context.evaluated_depsgraph_get()).data
    shown.calc_loop_triangles()
    return len(shown.loop_triangles)


def reduce_faces(context: bpy.types.Context, made: bpy.types.Object, wanted: int) -> None:
    """Leave at most about ``wanted`` triangles, by a modifier that can be changed and removed."""
    modifier = made.modifiers.get(REDUCED)
    if modifier is None or modifier.type != "DECIMATE":
        modifier = made.modifiers.new(REDUCED, "DECIMATE")
    modifier.decimate_type = "COLLAPSE"
    modifier.ratio = 1.0
    modifier.ratio = min(wanted / max(faces(context, made), 1), 1.0)
