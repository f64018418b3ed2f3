# SPDX-License-Identifier: GPL-3.0-or-later
"""The form in the sidebar, saved with the scene."""

import bpy
from bpy.props import EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, PointerProperty, StringProperty

from ..translations import OWN

MAX_SEED = 2**31 - 1
MAX_VARIATIONS = 8
SOURCES = (
    ("NONE", "None", "The words alone"),
    ("FILE", "File", "A picture file"),
    ("IMAGE", "Image", "An image of this file, such as a painting or a render"),
    ("VIEWPORT", "Viewport", "What this viewport shows when you press the button"),
    ("CAMERA", "Camera", "A small render of the scene's camera, with nothing behind the objects"),
)
PLACES = (
    ("CURSOR", "3D Cursor", "At the 3D cursor"),
    ("ORIGIN", "World Origin", "In the middle of the world"),
    ("ACTIVE", "On Active Object", "On top of the active object; at the 3D cursor if there is none"),
    ("DROP", "Where Dropped", "Where the picture was dropped into the viewport"),
)


class DREAMCRAFT3D_PG_form(bpy.types.PropertyGroup):
    """What the next object is made from."""

    prompt: StringProperty(
        name="Prompt", description="What to make, in a few words: a red mushroom", maxlen=1000, default=""
    )
    source: EnumProperty(
        name="Picture From", description="A picture of the object from its front, instead of words or with them",
        items=SOURCES, default="NONE", translation_context=OWN,
    )  # fmt: skip
    picture: StringProperty(name="File", description="A picture file; you can also drop one here", subtype="FILE_PATH")
    image: PointerProperty(
        name="Image", description="An image of this file; where it is transparent is not the object",
        type=bpy.types.Image,
    )  # fmt: skip
    negative: StringProperty(
        name="Avoid", description="What it shall not be, in a few words: blue, wings", maxlen=1000, default=""
    )
    preset: StringProperty(name="Quality", description="How much is computed", default="embedded")
    seed: IntProperty(
        name="Seed", description="The same seed makes the same object, another one a variation", min=0, max=MAX_SEED
    )
    size: FloatProperty(
        name="Size", description="How long the larger side of the object is", default=1.0, min=0.001, soft_max=100.0,
        subtype="DISTANCE", unit="LENGTH",
    )  # fmt: skip
    variations: IntProperty(
        name="Variations", description="How many objects are made side by side, each from the next seed",
        default=1, min=1, max=MAX_VARIATIONS,
    )  # fmt: skip
    place: EnumProperty(name="Place", description="Where the object stands", items=PLACES, default="CURSOR")
    dropped: FloatVectorProperty(
        name="Dropped At", description="Where a picture was dropped last", subtype="XYZ", unit="LENGTH"
    )


CLASSES = (DREAMCRAFT3D_PG_form,)
