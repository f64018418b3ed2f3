# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions of an object: one mesh each, all kept by the object, one of them shown.

The object's list has an entry for each that it was given here, and for the one it had before the first of them. The entry of
the version that is shown is empty: that is whatever mesh the object has, which so has no user but the object, as Blender
wants it for applying, and may be replaced by the artist. Nobody writes a mesh unless it is shown, so an earlier version is
exactly as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from .target import JOB


def of(thing: bpy.types.Object) -> list[bpy.types.Mesh]:
    """All versions of a mesh object, each after the one it was made from; the mesh that it shows is one of them."""
    listed = [entry.mesh or thing.data for entry in thing.dreamcraft3d_versions]
    return list(dict.fromkeys([*listed, thing.data]))


def place(thing: bpy.types.Object) -> tuple[int, int]:
    """Which version is shown, from 0, and how many there are."""
    known = of(thing)
    return known.index(thing.data), len(known)


def show(thing: bpy.types.Object, number: int) -> None:
    """Show the version of this number, from 0."""
    _keep(thing, of(thing), number)


@contextmanager
def added(thing: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """A new version after the one that is shown, a copy of it, and shown from now on; an error takes it away again.

    The object must be in object mode.
    """
    known, number = of(thing), place(thing)[0] + 1
    known.insert(number, thing.data.copy())
    _keep(thing, known, number)
    try:
        yield thing.data
    except BaseException:
        drop(thing)
        raise


def drop(thing: bpy.types.Object) -> None:
    """Take the version that is shown away, and show the one it was made from instead."""
    known, number, mesh = of(thing), place(thing)[0], thing.data
    del known[number]
    _keep(thing, known, max(number - 1, 0))
    if mesh.users == 0:
        bpy.data.meshes.remove(mesh)


def forget(thing: bpy.types.Object) -> None:
    """What it shows is all there is."""
    thing.dreamcraft3d_versions.clear()


def _keep(thing: bpy.types.Object, known: list[bpy.types.Mesh], number: int) -> None:
    """These are its versions, and this one is shown: a copy of it where a duplicate of the object has it, too."""
    mesh = known[number]
    others = (other for other in bpy.data.objects if other != thing)
    if any(entry.mesh == mesh for other in others for entry in other.dreamcraft3d_versions):
        mesh = mesh.copy()
    thing.data = mesh
    entries = thing.dreamcraft3d_versions
    entries.clear()
    for one in range(len(known) if len(known) > 1 else 0):  # a list of one tells nothing
        entries.add().mesh = known[one] if one != number else None
    if JOB in mesh:
        thing[JOB] = mesh[JOB]
    else:
        thing.pop(JOB, None)
