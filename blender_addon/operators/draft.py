# SPDX-License-Identifier: GPL-3.0-or-later
"""Preview Picture: look at the picture before an object is ordered from it."""

import bpy
from bpy.props import BoolProperty

from dreamcraft3d_protocol.errors import ProtocolError

from .. import pump
from ..scene import reference
from ..translations import said
from .generate import OrderOperator, basis_of, wish_of
from .seed import random_seed


class DREAMCRAFT3D_OT_preview_picture(OrderOperator, bpy.types.Operator):
    """Draw the picture alone, or cut it out, to look at it before an object is made from it"""

    bl_idname = "dreamcraft3d.preview_picture"
    bl_label = "Preview Picture"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    another: BoolProperty(name="Another Seed", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context):
        form = context.scene.dreamcraft3d
        if self.another:
            form.seed = random_seed()
        try:
            pump.studio().preview_picture(wish_of(form), reference.read(context, form), basis_of(form))
        except (OSError, ProtocolError) as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMCRAFT3D_OT_discard_picture(bpy.types.Operator):
    """Do without this picture"""

    bl_idname = "dreamcraft3d.discard_picture"
    bl_label = "Discard Picture"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().discard_draft()
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_preview_picture, DREAMCRAFT3D_OT_discard_picture)
