# SPDX-License-Identifier: GPL-3.0-or-later
"""The form in the sidebar, saved with the scene."""

import bpy
from bpy.props import FloatProperty, IntProperty, StringProperty

MAX_SEED = 2**31 - 1


class DREAMCRAFT3D_PG_form(bpy.types.PropertyGroup):
    """What the next object is made from."""

    prompt: StringProperty(
        name="Prompt", description="What to make, in a few words: a red mushroom", maxlen=1000, default=""
    )
    picture: StringProperty(
        name="Picture", description="A picture of the object from its front, instead of words or with them",
        subtype="FILE_PATH",
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


CLASSES = (DREAMCRAFT3D_PG_form,)
