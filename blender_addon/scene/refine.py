# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent of an object that is refined, and how its new version is made ready for what comes back.

Each function takes the object, which has the new job's id already, and its new version, a copy of the mesh that the object
had, which it shows already.
"""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.refinement import RefineError
from . import colours, given, image, material, painting, part, texture, unwrap
from .mesh import SEEN_BY

UV = "DreamCraft3D"
"""The UV map of a mesh that had none to paint into."""
REACH = 1e-3
"""By which coordinates may leave the image, as those of islands at its edge do by rounding."""


def retexture(context: bpy.types.Context, thing: bpy.types.Object, fresh: bpy.types.Mesh, uv: str) -> dict[str, Array]:
    """Paint all of it anew; faces, UV maps and attributes stay.

    Args:
        uv: the UV map to paint into; empty for the one that its own texture from here has, or else a new one.

    Raises:
        RefineError: it cannot be done with this object.
    """
    matrix = given.upright(thing)
    if uv and uv not in fresh.uv_layers:
        raise RefineError(f"The object has no UV map {uv!r}. Choose one, or none for a new one.")
    ours = None if uv else _texture_of_ours(thing)
    uv = ours.uv if ours is not None else uv or unwrap.add_map(context, fresh, UV, matrix)
    with given.as_seen(context, thing, uv) as seen:
        points = {} if ours is not None else {"colours": colours.of(thing, seen)}
        sent = given.triangles(seen, matrix, {"uv": _inside(given.uv_of(seen, uv))}, points)
    if ours is None:
        painting.begin_anew(fresh, uv)
        return sent
    png = image.to_file(ours.image)
    painting.begin_from(fresh, ours, png)
    return sent | {"texture": np.frombuffer(png, np.uint8)}


def repaint(
    context: bpy.types.Context, thing: bpy.types.Object, fresh: bpy.types.Mesh, meant: Array | bpy.types.Image
) -> dict[str, Array]:
    """Paint a part of it anew; all else of its texture stays.

    Args:
        meant: which part: (L,) how much each corner of the mesh is, or an image by the texture's UV map, where white is.

    Raises:
        RefineError: it cannot be done with this object.
    """
    matrix, found = given.upright(thing), texture.of(thing)
    png = image.to_file(found.image)
    masked = isinstance(meant, bpy.types.Image)
    if not masked:
        part.lay_on(fresh, meant)
    with given.as_seen(context, thing, found.uv) as seen:
        corners = {"uv": _inside(given.uv_of(seen, found.uv))} | ({} if masked else {"part": part.read(seen)})
        sent = given.triangles(seen, matrix, corners, {})
    if masked:
        sent["mask"] = np.frombuffer(image.to_file(meant), np.uint8)
    else:
        part.take_off(fresh)
    painting.begin_from(fresh, found, png)
    return sent | {"texture": np.frombuffer(png, np.uint8)}


def resculpt(thing: bpy.types.Object, fresh: bpy.types.Mesh) -> dict[str, Array]:
    """Make another shape and colours of it, in its place.

    Modifiers are not sent, as they act on what comes back; its shape keys go, as they are of the old shape.

    Raises:
        RefineError: it cannot be done with this object.
    """
    matrix = given.upright(thing)
    fresh[SEEN_BY] = matrix.ravel().tolist()
    sent = given.triangles(fresh, matrix, {}, {"colours": colours.of(thing, fresh)})
    _grow_again(thing, fresh)
    return sent


def go_on(thing: bpy.types.Object, fresh: bpy.types.Mesh) -> dict[str, Array]:
    """Its job goes on, and the backend has all there is to know.

    Raises:
        RefineError: it was painted by a UV map that it has no more.
    """
    uv = painting.uv_of(fresh)
    if not uv:
        _grow_again(thing, fresh)
        return {}
    if uv not in fresh.uv_layers:
        raise RefineError(f"The object has lost the UV map {uv} that it was painted by. Retexture it.")
    found = _texture_by(thing, uv)
    if found is not None:
        painting.begin_from(fresh, found, image.to_file(found.image))
    else:
        painting.begin_anew(fresh, uv)
    return {}


def _grow_again(thing: bpy.types.Object, fresh: bpy.types.Mesh) -> None:
    painting.give_up(fresh)
    if fresh.shape_keys is not None:
        thing.shape_key_clear()


def _texture_of_ours(thing: bpy.types.Object) -> texture.Texture | None:
    """The texture that the add-on has painted, where the object still has it."""
    found = _texture_by(thing, "")
    return found if found is not None and found.material.get(material.OURS) else None


def _texture_by(thing: bpy.types.Object, uv: str) -> texture.Texture | None:
    """The one texture of an object, if that is by this UV map, or by any where none is named."""
    try:
        found = texture.of(thing)
    except RefineError:
        return None
    return found if uv in ("", found.uv) else None


def _inside(uv: Array) -> Array:
    """A UV map that stays in the image.

    Raises:
        RefineError: it does not.
    """
    if uv.min() < -REACH or uv.max() > 1 + REACH:
        raise RefineError("The UV map reaches beyond its image, which repeats. Retexture with a new UV map.")
    return uv.clip(0, 1)
