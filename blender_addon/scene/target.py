# SPDX-License-Identifier: GPL-3.0-or-later
"""The object a job grows in: made in a collection of its own, looked up afresh each time, never held.

Blender's undo and file loading kill every reference, so an object is known by its job's id alone. While it grows, its mesh
says so; once it is finished it is the artist's, and nothing here touches it again. The mesh has the id as well, as an object
may have several versions, each made by a job of its own (``versions.py``).
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence

import bpy
import numpy as np

from dreamcraft3d_protocol.messages import JobId

from . import material

JOB = "dreamcraft3d_job"
"""Custom property of the object and its mesh: the job's id. It stays, as where they came from."""
GROWING = "dreamcraft3d_growing"
"""Custom property of the mesh while the job's result is not in it yet: ``WAITING``, or ``SHOWING`` a preview."""
WAITING, SHOWING = 1, 2
WRITTEN = "dreamcraft3d_written"
"""Custom property of the mesh: how many vertices and faces were written into it last, and a checksum of where."""
ROOM = "DreamCraft3D"
_READERS = ("RENDER", "OBJECT_BAKE")
"""Blender's jobs that read meshes."""
(_ID,) = JobId.__metadata__
_CORNERS = [(x, y, z) for z in (0.0, 1.0) for y in (-0.5, 0.5) for x in (-0.5, 0.5)]
_EDGES = [(0, 1), (2, 3), (0, 2), (1, 3), (4, 5), (6, 7), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7)]


def make(
    context: bpy.types.Context, job: str, name: str, size: float, place: Sequence[float] | None = None
) -> bpy.types.Object:
    """An empty box in which the job is going to grow; selected, if the artist is in object mode.

    To be called inside an operator with undo, so that undo and redo know the object.

    Args:
        name: of the object, its mesh and its collection.
        size: of the larger side of the finished object, in the scene's units.
        place: where it stands; None for the 3D cursor.
    """
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(_CORNERS, _EDGES, [])
    material.prepare(mesh, name)
    made = bpy.data.objects.new(name, mesh)
    begin(made, job)
    made.location = context.scene.cursor.location if place is None else place
    made.scale = (size, size, size)
    collection = bpy.data.collections.new(name)
    collection[JOB] = job
    _room(context).children.link(collection)
    collection.objects.link(made)
    if context.mode == "OBJECT" and getattr(context.space_data, "local_view", None) is not None:
        made.local_view_set(context.space_data, True)
    select(context, [made])
    return made


def select(context: bpy.types.Context, things: Sequence[bpy.types.Object]) -> None:
    """Select these objects alone, the first of them active; nothing is changed in other modes than object mode."""
    seen = [thing for thing in things if context.view_layer.objects.get(thing.name) is not None]
    if context.mode != "OBJECT" or not seen:
        return
    for other in context.selected_objects:
        other.select_set(False)
    for thing in seen:
        thing.select_set(True)
    context.view_layer.objects.active = seen[0]


def begin(made: bpy.types.Object, job: str) -> None:
    """From now on the job grows in the mesh that the object shows."""
    made[JOB] = made.data[JOB] = job
    made.data[GROWING] = WAITING
    note(made.data)


def find(job: str) -> bpy.types.Object | None:
    """The object of a job in this file, or None."""
    return next(iter(all_of(job)), None)


def all_of(job: str) -> list[bpy.types.Object]:
    """The object of a job, and copies that the artist made of it: those that grow before the others, the oldest first."""
    ours = [o for o in bpy.data.objects if o.get(JOB) == job and _editable(o)]
    return sorted(ours, key=lambda o: (not growing(o), o.session_uid))


def growing(made: bpy.types.Object) -> bool:
    """Whether the job's result is not in it yet."""
    return bool(made.data.get(GROWING, False))


def job_of(thing: bpy.types.Object | None) -> str:
    """The job that made what an object shows, or empty."""
    job = thing.get(JOB) if thing is not None and thing.type == "MESH" else None
    return job if _is_id(job) else ""


def finished(thing: bpy.types.Object | None) -> bool:
    """Whether an object is of ours, and has its job's result."""
    return bool(job_of(thing)) and not growing(thing)


def growing_jobs() -> set[str]:
    """Jobs of all objects in this file that are not finished."""
    return {o[JOB] for o in bpy.data.objects if _is_id(o.get(JOB)) and _editable(o) and growing(o)}


def writable(made: bpy.types.Object) -> bool:
    """Whether its mesh may be written now.

    In the other modes Blender would write the old geometry back, and a render reads the mesh from another thread.
    """
    users = (o for o in bpy.data.objects if o.data == made.data) if made.data.users > 1 else (made,)
    in_use = any(user.mode != "OBJECT" for user in users) or made.data.is_editmode
    return not in_use and not any(bpy.app.is_job_running(job) for job in _READERS)


def note(mesh: bpy.types.Mesh) -> tuple[int, ...]:
    """Remember what was written, to know what the artist has made of it; returns what is remembered."""
    mesh[WRITTEN] = outline = _outline(mesh)
    return outline


def remade(made: bpy.types.Object, known: Collection[tuple[int, ...]] = ()) -> bool:
    """Whether the artist has cut, joined, deformed or converted its mesh since it was written. Not for edit mode.

    Args:
        known: what was written at other times: undo in edit mode brings back vertices, but not what the mesh remembers.
    """
    outline, written = _outline(made.data), tuple(made.data.get(WRITTEN, ()))  # shorter in older files
    return written != outline[: len(written)] and outline not in known


def showing(made: bpy.types.Object) -> bool:
    """Whether something of the job is in it already."""
    return made.data.get(GROWING) != WAITING


def shown(made: bpy.types.Object) -> None:
    """Something of the job is in it."""
    made.data[GROWING] = SHOWING


def finish(made: bpy.types.Object) -> None:
    """From now on it is the artist's."""
    for mark in (GROWING, WRITTEN, material.COLOURED, material.PAINTED, material.PICTURE, material.ALPHA):
        made.data.pop(mark, None)


def let_go(made: bpy.types.Object) -> None:
    """It is the artist's as it is, and no object of a job any longer: the job may be placed again."""
    finish(made)
    for marked in (made, made.data):
        marked.pop(JOB, None)


def remove(made: bpy.types.Object) -> None:
    """Take away the empty box of a job that will never be; what has faces, or was changed by the artist, stays."""
    if len(made.data.polygons) > 0 or remade(made):
        return
    job, mesh, collections = made[JOB], made.data, made.users_collection
    bpy.data.objects.remove(made)
    if mesh.users == 0:
        bpy.data.meshes.remove(mesh)
    for collection in collections:
        if collection.get(JOB) == job and not collection.all_objects and not collection.children:
            bpy.data.collections.remove(collection)


def place(context: bpy.types.Context, made: bpy.types.Object) -> None:
    """Bring an object that is in no scene, in another one or in an excluded collection into this one, where it stands."""
    if made.name not in context.view_layer.objects:
        _room(context).objects.link(made)


def _outline(mesh: bpy.types.Mesh) -> tuple[int, ...]:
    """How many vertices and faces a mesh has, and a checksum of where, of as many bits as a custom property takes."""
    places = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", places)
    return len(mesh.vertices), len(mesh.polygons), zlib.crc32(places) >> 1


def _editable(made: bpy.types.Object) -> bool:
    """Whether it has a mesh, and one of this file, not of a library."""
    return made.type == "MESH" and made.data.library is None and made.data.override_library is None


def _is_id(job: object) -> bool:
    """Whether it may be a job's; anybody can write a custom property."""
    return isinstance(job, str) and _ID.fullmatch(job) is not None


def _room(context: bpy.types.Context) -> bpy.types.Collection:
    """The collection that all of them lie in; the scene's own where the artist has that one out of sight."""
    top = context.view_layer.layer_collection
    for child in top.children:
        if child.name.partition(".")[0] == ROOM and child.collection.library is None:
            return child.collection if child.is_visible else top.collection
    room = bpy.data.collections.new(ROOM)
    top.collection.children.link(room)
    return room
