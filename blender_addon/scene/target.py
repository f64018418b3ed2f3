# SPDX-License-Identifier: GPL-3.0-or-later
"""The object a job grows in: made in a collection of its own, looked up afresh each time, never held.

Blender's undo and file loading kill every reference, so an object is known by its job's id alone. While it grows, its mesh
says so; once it is finished it is the artist's, and nothing here touches it again.
"""

from __future__ import annotations

import bpy

JOB = "dreamcraft3d_job"
"""Custom property of the object: the job's id. It stays, as where the object came from."""
GROWING = "dreamcraft3d_growing"
"""Custom property of the mesh: the job's result is not in it yet."""
ROOM = "DreamCraft3D"
_CORNERS = [(x, y, z) for z in (0.0, 1.0) for y in (-0.5, 0.5) for x in (-0.5, 0.5)]
_EDGES = [(0, 1), (2, 3), (0, 2), (1, 3), (4, 5), (6, 7), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7)]


def make(context: bpy.types.Context, job: str, name: str, size: float) -> bpy.types.Object:
    """An empty box on the 3D cursor in which the job is going to grow; selected, if the artist is in object mode.

    To be called inside an operator with undo, so that undo and redo know the object.

    Args:
        name: of the object, its mesh and its collection.
        size: of the larger side of the finished object, in the scene's units.
    """
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(_CORNERS, _EDGES, [])
    mesh[GROWING] = True
    made = bpy.data.objects.new(name, mesh)
    made[JOB] = job
    made.location = context.scene.cursor.location
    made.scale = (size, size, size)
    collection = bpy.data.collections.new(name)
    _room(context.scene).children.link(collection)
    collection.objects.link(made)
    if context.mode == "OBJECT" and context.view_layer.objects.get(made.name) is not None:
        for other in context.selected_objects:
            other.select_set(False)
        made.select_set(True)
        context.view_layer.objects.active = made
    return made


def find(job: str) -> bpy.types.Object | None:
    """The object of a job in this file, or None."""
    ours = (o for o in bpy.data.objects if o.get(JOB) == job and o.type == "MESH" and o.library is None)
    return next(ours, None)


def growing(made: bpy.types.Object) -> bool:
    """Whether the job's result is not in it yet."""
    return bool(made.data.get(GROWING, False))


def growing_jobs() -> set[str]:
    """Jobs of all objects in this file that are not finished."""
    return {o[JOB] for o in bpy.data.objects if isinstance(o.get(JOB), str) and o.type == "MESH" and growing(o)}


def writable(made: bpy.types.Object) -> bool:
    """Whether its mesh may be written now.

    In the other modes Blender would write the old geometry back, and a render reads the mesh from another thread.
    """
    in_use = any(user.mode != "OBJECT" for user in bpy.data.objects if user.data == made.data)
    return not in_use and not made.data.is_editmode and not bpy.app.is_job_running("RENDER")


def finish(made: bpy.types.Object) -> None:
    """From now on it is the artist's."""
    del made.data[GROWING]


def remove_placeholder(job: str) -> None:
    """Take away the empty box of a job that will never be; anything that has faces stays."""
    made = find(job)
    if made is None or not growing(made) or len(made.data.polygons) > 0 or made.mode != "OBJECT":
        return
    mesh, collections = made.data, made.users_collection
    bpy.data.objects.remove(made)
    bpy.data.meshes.remove(mesh)
    for collection in collections:
        if not collection.all_objects and collection.users <= 1 and collection.name != ROOM:
            bpy.data.collections.remove(collection)


def _room(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The collection that all of them lie in."""
    for child in scene.collection.children:
        if child.name.partition(".")[0] == ROOM and child.library is None:
            return child
    room = bpy.data.collections.new(ROOM)
    scene.collection.children.link(room)
    return room
