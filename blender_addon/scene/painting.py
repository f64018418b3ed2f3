# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh whose faces are kept while a job paints it: a picture by one of its UV maps is all that is written."""

from __future__ import annotations

import bpy

from ..core.previews import Shape
from . import image, material, target
from .texture import Texture

UV = "dreamcraft3d_uv"
"""Custom property of the mesh: the UV map that its job paints by. It stays, for jobs that go on from there."""


def begin_anew(mesh: bpy.types.Mesh, uv: str) -> None:
    """The job paints by this UV map; the mesh keeps its looks until there is something to see."""
    _forget(mesh)
    material.prepare_painting(mesh, mesh.name, uv)
    mesh[UV] = uv


def begin_from(mesh: bpy.types.Mesh, texture: Texture, png: bytes) -> None:
    """The job paints over a texture, which another mesh may have as well.

    Args:
        png: the texture's pixels.
    """
    _forget(mesh)
    picture = bpy.data.images.new(texture.image.name, 1, 1, alpha=True)
    image.write_png(picture, png)
    packed = texture.image.alpha_mode == "CHANNEL_PACKED"  # read in another way it is black where its alpha is 0
    picture.alpha_mode = "CHANNEL_PACKED" if packed else "STRAIGHT"
    material.prepare_repainting(mesh, texture.material, texture.node, picture)
    mesh[UV] = texture.uv


def give_up(mesh: bpy.types.Mesh) -> None:
    """The job makes the mesh itself; it keeps its looks until there is something to see."""
    _forget(mesh)
    mesh.pop(UV, None)
    material.prepare(mesh, mesh.name)


def uv_of(mesh: bpy.types.Mesh) -> str:
    """The UV map that the mesh's job paints by, or painted by; empty if the job makes the mesh itself."""
    uv = mesh.get(UV)
    return uv if isinstance(uv, str) else ""


def write(made: bpy.types.Object, shape: Shape) -> None:
    """Show what is painted so far; in the end, the result. Where the artist has taken the picture away, nothing."""
    mesh = made.data
    picture, alpha = mesh.get(material.PICTURE), mesh.get(material.ALPHA)
    if picture is None:
        return
    if shape.png is not None:
        image.write_png(picture, shape.png, alpha)
    elif shape.texture is not None:
        image.write_pixels(picture, shape.texture, alpha)
    else:
        return
    if not target.showing(made):
        material.cover(mesh)
        target.shown(made)


def _forget(mesh: bpy.types.Mesh) -> None:
    """Nothing of the job that the mesh before was made by."""
    for name in (material.COLOURED, material.PAINTED, material.PICTURE, material.ALPHA):
        mesh.pop(name, None)
