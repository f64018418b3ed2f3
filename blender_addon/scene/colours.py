# SPDX-License-Identifier: GPL-3.0-or-later
"""The colours an object has, vertex by vertex: of its textures, of its plain materials, or of its colour attribute."""

from __future__ import annotations

import bpy
import numpy as np

from dreamcraft3d_protocol.arrays import Array

from ..core.placement import srgb
from . import texture
from .given import uv_of
from .topology import corner_vertices, material_numbers

GREY = 0.5


def of(thing: bpy.types.Object, mesh: bpy.types.Mesh) -> Array:
    """(V, 3) float32 sRGB in [0, 1] of each vertex: the mean of its corners.

    Grey where a material takes its colour from something else than one image, one colour or a colour attribute.

    Args:
        mesh: the object's, or what its modifiers make of that.
    """
    sides = np.empty(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("loop_total", sides)
    numbers, vertex = np.repeat(material_numbers(mesh), sides), corner_vertices(mesh)
    values = np.empty((len(mesh.loops), 3), np.float32)
    for number in np.unique(numbers):
        here = numbers == number
        values[here] = _of_material(texture.material_at(thing, int(number)), mesh, here, vertex[here])
    sums = np.stack([np.bincount(vertex, values[:, i], len(mesh.vertices)) for i in range(3)], axis=1)
    counts = np.bincount(vertex, minlength=len(mesh.vertices))[:, None]
    return (sums / np.maximum(counts, 1)).clip(0, 1).astype(np.float32)


def _of_material(
    material: bpy.types.Material | None, mesh: bpy.types.Mesh, corners: Array, vertices: Array
) -> Array | float:
    """The colours of some corners, (N, 3) or one for all.

    Args:
        corners: (L,) bool, which.
        vertices: (N,) which vertex each of them is on.
    """
    base = texture.base_colour(material)
    if base is None:
        return GREY
    if not base.is_linked:
        return srgb(np.array(base.default_value[:3], np.float32))
    found = texture.of_material(material, mesh)
    if found is not None and found.image.size[0] > 0:
        return _sampled(found.image, uv_of(mesh, found.uv)[corners])
    node = base.links[0].from_node
    attribute = mesh.color_attributes.get(node.layer_name) if node.bl_idname == "ShaderNodeVertexColor" else None
    if attribute is None:
        return GREY
    values = np.empty(4 * len(attribute.data), np.float32)
    attribute.data.foreach_get("color", values)
    return srgb(values.reshape(-1, 4)[corners if attribute.domain == "CORNER" else vertices, :3])


def _sampled(image: bpy.types.Image, uv: Array) -> Array:
    """(N, 3) the nearest pixels of an image, which is repeated in all directions."""
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    column, row = (np.floor(uv * [width, height]).astype(int) % [width, height]).T
    colours = pixels.reshape(height, width, image.channels)[row, column, :3]
    return srgb(colours) if image.is_float else np.broadcast_to(colours, (len(uv), 3))
