"""What belongs to the artist, as one number that changes with any of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np

_VALUES = {
    "FLOAT": ("value", np.float32, 1),
    "INT": ("value", np.int32, 1),
    "INT8": ("value", np.int32, 1),
    "BOOLEAN": ("value", np.bool_, 1),
    "FLOAT_VECTOR": ("vector", np.float32, 3),
    "FLOAT2": ("vector", np.float32, 2),
    "INT32_2D": ("value", np.int32, 2),
    "INT16_2D": ("value", np.int32, 2),
    "FLOAT_COLOR": ("color", np.float32, 4),
    "BYTE_COLOR": ("color", np.float32, 4),
}


def fingerprint(own: Iterable[bpy.types.ID]) -> str:
    """Of these objects, meshes, materials, images and collections, byte for byte."""
    bpy.context.view_layer.update()
    digest = hashlib.blake2b(digest_size=16)
    for one in own:
        for value in _SEEN[type(one)](one):
            digest.update(value if isinstance(value, bytes) else repr(value).encode())
        digest.update(repr((one.name, sorted((k, str(v)) for k, v in one.items()))).encode())
    return digest.hexdigest()


def _object(made: Any) -> list[Any]:
    constraints = [(c.name, c.type) for c in made.constraints]
    modifiers = [(m.name, m.type) for m in made.modifiers]
    groups, slots = [g.name for g in made.vertex_groups], [(s.link, s.material) for s in made.material_slots]
    where = sorted(c.name for c in made.users_collection)
    seen = (made.hide_viewport, made.hide_render, made.hide_select, made.select_get() if _in_view(made) else None)
    values = [*made.matrix_basis, *made.matrix_parent_inverse, made.parent, made.data, made.mode]
    return [*values, constraints, modifiers, groups, slots, where, seen]


def _mesh(mesh: Any) -> list[Any]:
    values: list[Any] = [(len(mesh.vertices), len(mesh.edges), len(mesh.polygons)), list(mesh.materials)]
    for attribute in mesh.attributes:
        name, dtype, width = _VALUES[attribute.data_type]
        data = np.empty(width * len(attribute.data), dtype)
        attribute.data.foreach_get(name, data)
        values += [attribute.name, attribute.domain, data.tobytes()]
    groups = [[(g.group, g.weight) for g in v.groups] for v in mesh.vertices]
    keys = mesh.shape_keys.key_blocks.keys() if mesh.shape_keys else []
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    return [*values, groups, keys, corners.tobytes()]


def _material(material: Any) -> list[Any]:
    tree = material.node_tree
    nodes = [(n.name, n.bl_idname, tuple(n.location), getattr(n, "image", None)) for n in tree.nodes]
    inputs = [(s.name, str(_value(s))) for n in tree.nodes for s in n.inputs]
    links = [(k.from_node.name, k.from_socket.name, k.to_node.name, k.to_socket.name) for k in tree.links]
    return [nodes, inputs, links, tuple(material.diffuse_color)]


def _image(image: Any) -> list[Any]:
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    return [tuple(image.size), pixels.tobytes(), image.filepath, image.packed_file is None]


def _collection(collection: Any) -> list[Any]:
    return [[o.name for o in collection.objects], [c.name for c in collection.children]]


def _value(socket: Any) -> Any:
    value = getattr(socket, "default_value", None)
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _in_view(made: Any) -> bool:
    return made.name in bpy.context.view_layer.objects


_SEEN = {
    bpy.types.Object: _object,
    bpy.types.Mesh: _mesh,
    bpy.types.Material: _material,
    bpy.types.Image: _image,
    bpy.types.Collection: _collection,
}
