# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an object's colours come from: its materials' base colours, as far as they are an image or a single colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..core.refinement import RefineError
from .topology import material_numbers

_UNMOVED = {"Location": (0, 0, 0), "Rotation": (0, 0, 0), "Scale": (1, 1, 1)}


@dataclass(frozen=True)
class Texture:
    """An image as base colour.

    Attributes:
        material: that has it.
        node: of the material.
        uv: the name of the UV map that it is laid out by.
    """

    material: bpy.types.Material
    node: bpy.types.ShaderNodeTexImage
    uv: str

    @property
    def image(self) -> bpy.types.Image:
        return self.node.image


def of(thing: bpy.types.Object) -> Texture:
    """The one texture of an object.

    Raises:
        RefineError: it has none, more than one, or one that lies on it in another way than by a UV map.
    """
    materials = [material_at(thing, number) for number in used_slots(thing.data)]
    if len(materials) != 1:
        raise RefineError("The object has several materials, or no faces. Retexture it first: then it has one texture.")
    found = of_material(materials[0], thing.data)
    if found is None:
        raise RefineError("The object has no image as base color, laid out by a UV map. Retexture it first.")
    return found


def of_material(material: bpy.types.Material | None, mesh: bpy.types.Mesh) -> Texture | None:
    """The image that a material takes its base colour from, if that is one image by one of the mesh's UV maps."""
    base = base_colour(material)
    nodes = list(image_nodes(base)) if base is not None else []
    if len(nodes) != 1 or nodes[0].image is None:
        return None
    uv = _uv_map(nodes[0].inputs["Vector"], mesh)
    return Texture(material, nodes[0], uv) if uv in mesh.uv_layers else None


def base_colour(material: bpy.types.Material | None) -> bpy.types.NodeSocket | None:
    """The socket of a material's base colour, if it is Principled."""
    nodes = material.node_tree.nodes if material is not None and material.node_tree is not None else ()
    found = next((node for node in nodes if node.bl_idname == "ShaderNodeBsdfPrincipled"), None)
    return found.inputs["Base Color"] if found is not None else None


def image_nodes(socket: bpy.types.NodeSocket) -> Iterator[bpy.types.ShaderNodeTexImage]:
    """All image nodes that what comes into a socket is made of."""
    for link in socket.links:
        node = link.from_node
        if node.bl_idname == "ShaderNodeTexImage":
            yield node
        else:
            for further in node.inputs:
                yield from image_nodes(further)


def used_slots(mesh: bpy.types.Mesh) -> list[int]:
    """The numbers of the materials that are on faces."""
    return [int(number) for number in np.unique(material_numbers(mesh))]


def material_at(thing: bpy.types.Object, number: int) -> bpy.types.Material | None:
    """The material that an object shows on faces of this number."""
    slots = thing.material_slots
    return slots[min(number, len(slots) - 1)].material if slots else None


def _uv_map(vector: bpy.types.NodeSocket, mesh: bpy.types.Mesh) -> str:
    """The UV map that comes into a socket as it is; empty if something else does."""
    standard = next((layer.name for layer in mesh.uv_layers if layer.active_render), "")
    if not vector.is_linked:
        return standard
    node, output = vector.links[0].from_node, vector.links[0].from_socket
    if node.bl_idname == "ShaderNodeUVMap":
        return node.uv_map or standard
    if node.bl_idname == "ShaderNodeTexCoord":
        return standard if output.name == "UV" else ""
    unmoved = node.bl_idname == "ShaderNodeMapping" and all(
        not node.inputs[name].is_linked and tuple(node.inputs[name].default_value) == value
        for name, value in _UNMOVED.items()
    )
    if unmoved or node.bl_idname == "NodeReroute":
        return _uv_map(node.inputs["Vector" if unmoved else 0], mesh)
    return ""
