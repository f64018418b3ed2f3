# SPDX-License-Identifier: GPL-3.0-or-later
"""The material of an object: Principled, with the mesh's colours while it grows and an image in the end."""

from __future__ import annotations

import bpy

from .image import duplicate
from .mesh import COLOURS
from .target import JOB

OURS = "dreamcraft3d"
"""Custom property of a material, node or image that the add-on made: the job's id."""
ROUGHNESS = 0.7
_NODES = {"colours": "ShaderNodeVertexColor", "image": "ShaderNodeTexImage"}


def show_colours(made: bpy.types.Object) -> None:
    """Take the base colour from the mesh's colour attribute."""
    node = _source(made, "colours")
    if node.layer_name != COLOURS:  # setting it has the shader compiled again
        node.layer_name = COLOURS


def show_image(made: bpy.types.Object, image: bpy.types.Image) -> None:
    """Take the base colour from an image."""
    node = _source(made, "image")
    if node.image != image:
        node.image = image


def part(copy: bpy.types.Object) -> None:
    """Give a copy of an object a material and an image of its own, as they are now."""
    for index, shared in enumerate(copy.data.materials):
        if shared is None or shared.get(OURS) != copy[JOB]:
            continue
        own = copy.data.materials[index] = shared.copy()
        node = _ours(own.node_tree.nodes, copy[JOB])
        if getattr(node, "image", None) is not None:
            node.image = duplicate(node.image)
        del own[OURS]


def _source(made: bpy.types.Object, what: str) -> bpy.types.ShaderNode:
    """The node of a kind that is ours, in the place of one of another kind; the artist's own nodes are not touched."""
    nodes = _nodes(made)
    before = _ours(nodes, made[JOB])
    if before is not None and before.bl_idname == _NODES[what]:
        return before
    node = nodes.new(_NODES[what])
    node[OURS] = made[JOB]
    if before is not None:
        node.location = before.location
        fed = [link.to_socket for link in before.outputs["Color"].links]
    else:
        node.location = (-300, 300)
        fed = [socket for socket in (_principled(made).inputs["Base Color"],) if not socket.is_linked]
    for socket in fed:
        _material(made).node_tree.links.new(node.outputs["Color"], socket)
    if before is not None:
        nodes.remove(before)
    return node


def _ours(nodes: bpy.types.Nodes, job: str) -> bpy.types.ShaderNode | None:
    return next((node for node in nodes if node.get(OURS) == job), None)


def _nodes(made: bpy.types.Object) -> bpy.types.Nodes:
    return _material(made).node_tree.nodes


def _material(made: bpy.types.Object) -> bpy.types.Material:
    """The object's material that is the job's, made if there is none; the artist's own are not touched."""
    slots = made.data.materials
    material = next((m for m in slots if m is not None and m.library is None and m.get(OURS) == made[JOB]), None)
    if material is None:
        material = bpy.data.materials.new(made.name)
        material[OURS] = made[JOB]
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
    if not output.inputs["Surface"].is_linked:
        _material(made).node_tree.links.new(found.outputs["BSDF"], output.inputs["Surface"])
    return found
