# SPDX-License-Identifier: GPL-3.0-or-later
"""The dice beside the seed."""

import random

import bpy

from ..props.form import MAX_SEED


class DREAMCRAFT3D_OT_roll_seed(bpy.types.Operator):
    """Another seed, for a variation"""

    bl_idname = "dreamcraft3d.roll_seed"
    bl_label = "Roll the Dice"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        context.scene.dreamcraft3d.seed = random_seed()
        return {"FINISHED"}


def random_seed():
    """One that nobody has chosen."""
    return random.SystemRandom().randint(0, MAX_SEED)


CLASSES = (DREAMCRAFT3D_OT_roll_seed,)
