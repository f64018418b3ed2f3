# SPDX-License-Identifier: GPL-3.0-or-later
"""The materials of an object: one that shows its mesh's colours while it grows, one that shows its picture.

Both are made with the object, inside its operator, and only ever exchanged later. For what a timer makes is in no undo
step: undo keeps a mesh that is the same in two steps as it is now, frees what it does not know, and leaves the mesh with a
material that is no more, on which Blender crashes.
"""

from __future__ import annotations

from typing import Literal

import bpy

from .image import duplicate, is_transparent
from .mesh import COLOURS
from .texture import base_colour, image_nodes
from .topology import write_material_number

OURS = "dreamcraft3d"
"""Custom property of a material that the add-on made, and of the image that its job painted."""
COLOURED, PAINTED, PICTURE = "dreamcraft3d_coloured", "dreamcraft3d_painted", "dreamcraft3d_picture"
"""Custom properties of a mesh that grows: both materials, and the image of the second, whether they are used now or not."""
ALPHA = "dreamcraft3d_alpha"
"""Custom property of a mesh that is painted: an image that its picture is as transparent as, if any."""
ROUGHNESS = 0.7
_BARE = 0.906
"""sRGB of what has no material in Blender."""
_NODES = {"colours": "ShaderNodeVertexColor", "image": "ShaderNodeTexImage"}


def prepare(mesh: bpy.types.Mesh, name: str) -> None:
    """Make all that a mesh is going to need, and let it wear the colours."""
    painted, node = _material(name, "image")
    node.image = mesh[PICTURE] = _picture(name)
    coloured, node = _material(f"{name} Colors", "colours")
    node.layer_name = COLOURS
    mesh[COLOURED], mesh[PAINTED] = coloured, painted
    mesh.materials.append(coloured)


def prepare_painting(mesh: bpy.types.Mesh, name: str, uv: str) -> None:
    """Make the material and the picture of a mesh that is painted by a UV map; it keeps its looks for now."""
    painted, node = _material(name, "image")
    tree = painted.node_tree
    where = tree.nodes.new("ShaderNodeUVMap")
    where.location, where.uv_map = (-500, 200), uv
    tree.links.new(where.outputs["UV"], node.inputs["Vector"])
    node.image = mesh[PICTURE] = _picture(name)
    mesh[PAINTED] = painted
    mesh.materials.append(painted)


def prepare_repainting(
    mesh: bpy.types.Mesh, shared: bpy.types.Material, node: bpy.types.ShaderNodeTexImage, picture: bpy.types.Image
) -> None:
    """Let a mesh wear a copy of a material, in which one image is the picture that is painted, on all faces.

    Args:
        node: of the material, with the image that the picture takes the place of.
    """
    painted, slots = shared.copy(), mesh.materials
    painted[OURS] = picture[OURS] = True
    painted.node_tree.nodes[node.name].image = mesh[PICTURE] = picture
    mesh[PAINTED] = painted
    if is_transparent(node.image):
        mesh[ALPHA] = node.image
    if shared in list(slots):
        slots[list(slots).index(shared)] = painted
    else:  # the object shows another material in its place
        slots.append(painted)
    cover(mesh)


def cover(mesh: bpy.types.Mesh) -> None:
    """Put what the job's mesh wears on all faces, in the place of what earlier jobs made."""
    slots = mesh.materials
    worn = next((one for one in slots if one is not None and one in (mesh.get(COLOURED), mesh.get(PAINTED))), None)
    if worn is None:
        return
    for number in reversed(range(len(slots))):
        if slots[number] not in (None, worn) and slots[number].get(OURS):
            slots.pop(index=number)
    write_material_number(mesh, list(slots).index(worn))
    mesh.update()


def prepared(mesh: bpy.types.Mesh) -> bool:
    """Whether that is still there; an artist can remove anything."""
    return all(mesh.get(name) is not None for name in (COLOURED, PAINTED, PICTURE))


def texture_of(made: bpy.types.Object) -> bpy.types.Image | None:
    """The image that its job painted, as base color of the material that is ours; None if the artist took it away."""
    bases = (base_colour(m) for m in made.data.materials if m is not None and m.get(OURS))
    nodes = (node for base in bases if base is not None for node in image_nodes(base))
    return next((node.image for node in nodes if node.image is not None and node.image.get(OURS)), None)


def show(mesh: bpy.types.Mesh, which: Literal["dreamcraft3d_coloured", "dreamcraft3d_painted"]) -> None:
    """Let the mesh wear one of the two in the place of the other; where the artist has taken both away, none."""
    wanted, worn = mesh[which], mesh[PAINTED if which == COLOURED else COLOURED]
    for number, material in enumerate(mesh.materials):
        if material == worn:
            mesh.materials[number] = wanted


def show_result(mesh: bpy.types.Mesh) -> None:
    """Let it wear the picture in any case."""
    show(mesh, PAINTED)
    if mesh[PAINTED] not in list(mesh.materials):
        mesh.materials.append(mesh[PAINTED])


def part(mesh: bpy.types.Mesh) -> None:
    """Give the copy of a mesh a material and a picture of its own, as they are now; inside an operator with undo."""
    for number, worn in enumerate(mesh.materials):
        if worn is None or worn not in (mesh.get(COLOURED), mesh.get(PAINTED)):
            continue
        own = mesh.materials[number] = worn.copy()
        del own[OURS]
        for node in own.node_tree.nodes:
            if getattr(node, "image", None) is not None and node.image == mesh[PICTURE]:
                node.image = duplicate(node.image)


def _picture(name: str) -> bpy.types.Image:
    """An image that is, until there is something to see, as light as a mesh without a material."""
    picture = bpy.data.images.new(name, 8, 8)
    picture.generated_color = (*[_BARE] * 3, 1)
    picture[OURS] = True
    return picture


def _material(name: str, what: str) -> tuple[bpy.types.Material, bpy.types.ShaderNode]:
    """Principled, with a node of a kind for its base colour."""
    material = bpy.data.materials.new(name)
    material[OURS] = True
    if material.node_tree is None:  # Blender 5 makes the tree itself
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    node, shader, output = map(nodes.new, (_NODES[what], "ShaderNodeBsdfPrincipled", "ShaderNodeOutputMaterial"))
    node.location, shader.location, output.location = (-300, 300), (0, 300), (300, 300)
    shader.inputs["Roughness"].default_value = ROUGHNESS
    links.new(node.outputs["Color"], shader.inputs["Base Color"])
    links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    return material, node
