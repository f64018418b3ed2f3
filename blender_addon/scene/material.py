# SPDX-License-Identifier: GPL-3.0-or-later
"""The material of an object: Principled, with the mesh's colours while it grows and an image in the end."""

from __future__ import annotations

import bpy

from .mesh import COLOURS

OURS = "dreamcraft3d"
"""Custom property of a material that the add-on made."""
ROUGHNESS = 0.7
_NODES = {"colours": "ShaderNodeVertexColor", "image": "ShaderNodeTexImage"}


def show_colours(made: bpy.types.Object) -> None:
    """Take the base colour from the mesh's colour attribute."""
    node = _source(made, "colours")
    if node.layer_name != COLOURS:  # setting it has the shader compiled again
        node.layer_name = COLOURS


def shown_image(made: bpy.types.Object) -> bpy.types.Image | None:
    """The image that the base colour is taken from, if there is one."""
    node = next((n for n in _nodes(made) if n.bl_idname == _NODES["image"]), None)
    return None if node is None else node.image


def show_image(made: bpy.types.Object, image: bpy.types.Image) -> None:
    """Take the base colour from an image."""
    node = _source(made, "image")
    if node.image != image:
        node.image = image


def _source(made: bpy.types.Object, what: str) -> bpy.types.ShaderNode:
    """The node of a kind that feeds the base colour, in the place of whatever fed it before."""
    nodes = _nodes(made)
    links = _material(made).node_tree.links
    base = _principled(made).inputs["Base Color"]
    if base.is_linked:
        before = base.links[0].from_node
        if before.bl_idname == _NODES[what]:
            return before
        nodes.remove(before)
    node = nodes.new(_NODES[what])
    node.location = (-300, 300)
    links.new(node.outputs["Color"], base)
    return node


def _nodes(made: bpy.types.Object) -> bpy.types.Nodes:
    return _material(made).node_tree.nodes


def _material(made: bpy.types.Object) -> bpy.types.Material:
    """The object's material that is ours, made if there is none; the artist's own are not touched."""
    slots = made.data.materials
    material = next((m for m in slots if m is not None and m.get(OURS)), None)
    if material is None:
        material = bpy.data.materials.new(made.name)
        material[OURS] = True
        slots.append(material)
    if material.node_tree is None:  # Blender 5 makes the tree itself
        material.use_nodes = True
    return material


def _principled(made: bpy.types.Object) -> bpy.types.ShaderNode:
    nodes = _nodes(made)
    found = next((n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled"), None)
    if found is not None:
        return found
    found = nodes.new("ShaderNodeBsdfPrincipled")
    found.inputs["Roughness"].default_value = ROUGHNESS
    output = next((n for n in nodes if n.bl_idname == "ShaderNodeOutputMaterial"), None)
    output = output or nodes.new("ShaderNodeOutputMaterial")
    output.location = (300, 300)
    _material(made).node_tree.links.new(found.outputs["BSDF"], output.inputs["Surface"])
    return found
