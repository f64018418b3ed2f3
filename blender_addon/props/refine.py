# SPDX-License-Identifier: GPL-3.0-or-later
"""The form of Refine in the sidebar, saved with the scene."""

import bpy
from bpy.props import EnumProperty, PointerProperty, StringProperty

WAYS = (
    ("RETEXTURE", "Retexture", "Paint all of it anew; its shape stays as it is"),
    ("REPAINT", "Repaint a Part", "Paint a part of it anew; the rest of its texture stays as it is"),
    ("RESCULPT", "Re-sculpt", "Make another shape from it, and paint that"),
    ("GO_ON", "Go On", "Do more of what made it, or go another way from there"),
)
PARTS = (
    ("SELECTION", "Selected Faces", "The faces that are selected in Edit Mode"),
    ("GROUP", "Vertex Group", "As much as the weights of a vertex group say"),
    ("ATTRIBUTE", "Color Attribute", "What is white in a color attribute"),
    ("IMAGE", "Mask Image", "What is white in an image by the same UV map"),
)
STAGES = (
    ("coarse", "Rough Shape", "From the rough shape: all of it may change"),
    ("geometry", "Fine Shape", "From the fine shape: its details and colors may change"),
    ("texture", "Painting", "From the painting: its colors may change"),
)


class DREAMCRAFT3D_PG_refine(bpy.types.PropertyGroup):
    """What becomes of the active object."""

    way: EnumProperty(name="Do", description="What is done to the object", items=WAYS, default="RETEXTURE")
    prompt: StringProperty(
        name="Prompt", description="What it shall become, in a few words; empty for the words it was made from",
        maxlen=1000,
    )  # fmt: skip
    uv: StringProperty(name="UV Map", description="A UV map to paint into; empty for a new one, made by Blender")
    part: EnumProperty(name="Part", description="Which part is painted anew", items=PARTS, default="SELECTION")
    group: StringProperty(name="Group", description="The vertex group whose weights say what is painted anew")
    attribute: StringProperty(name="Attribute", description="The color attribute in which white is painted anew")
    mask: PointerProperty(
        name="Mask", description="The image in which white is painted anew, by the UV map of the object's texture",
        type=bpy.types.Image,
    )  # fmt: skip
    stage: EnumProperty(name="From", description="The stage that is gone on with", items=STAGES, default="texture")


CLASSES = (DREAMCRAFT3D_PG_refine,)
