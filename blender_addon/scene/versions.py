# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of an object: one mesh each, all kept by the object, one of them shown.

The object's list has those that it was given here, and the one it had before the first of them. A mesh that is in the list
is saved with the file, and nobody writes it unless it is shown, so an earlier version is exactly as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from .target import JOB, find, growing, showing


def of(thing: bpy.types.Object) -> list[bpy.types.Mesh]:
    """All versions of a mesh object, each after the one it was made from; the mesh that it shows is one of them."""
    listed = [entry.mesh for entry in thing.dreamcraft3d_versions if entry.mesh is not None]
    return listed if thing.data in listed else [*listed, thing.data]


def place(thing: bpy.types.Object) -> tuple[int, int]:
    """Which version is shown, from 0, and how many there are."""
    known = of(thing)
    return known.index(thing.data), len(known)


def show(thing: bpy.types.Object, number: int) -> None:
    """Show the version of this number, from 0."""
    _show(thing, of(thing)[number])


@contextmanager
def added(thing: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """A new version after the one that is shown, a copy of it, and shown from now on; an error takes it away again.

    The object must be in object mode.
    """
    entries, before = thing.dreamcraft3d_versions, thing.data
    if all(entry.mesh != before for entry in entries):
        entries.add().mesh = before
    fresh = before.copy()
    entries.add().mesh = fresh
    entries.move(len(entries) - 1, [entry.mesh for entry in entries].index(before) + 1)
    thing.data = fresh
    try:
        yield fresh
    except BaseException:
        drop(thing, fresh)
        raise


def drop(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """Take a version away, and show the one it was made from instead."""
    known = of(thing)
    if thing.data == mesh:
        _show(thing, known[max(known.index(mesh) - 1, 0)])
    entries = thing.dreamcraft3d_versions
    for number in reversed(range(len(entries))):
        if entries[number].mesh == mesh or len(known) == 2:  # a list of one tells nothing
            entries.remove(number)
    if mesh.users == 0:
        bpy.data.meshes.remove(mesh)


def give_up(job: str) -> bool:
    """Take away the version of a job that will never be, if nothing has come into it; whether there was one."""
    made = find(job)
    if made is None or len(of(made)) == 1:
        return False
    if growing(made) and not showing(made) and made.mode == "OBJECT":
        drop(made, made.data)
    return True


def forget(thing: bpy.types.Object) -> None:
    """What it shows is all there is."""
    thing.dreamcraft3d_versions.clear()


def _show(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    thing.data = mesh
    if JOB in mesh:
        thing[JOB] = mesh[JOB]
    else:
        thing.pop(JOB, None)
