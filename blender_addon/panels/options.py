# SPDX-License-Identifier: GPL-3.0-or-later
"""What a newcomer need not know of the form: seed, variations, place."""

import bpy

from .main import DREAMCRAFT3D_PT_main
from .words import SidebarPanel


class DREAMCRAFT3D_PT_options(SidebarPanel, bpy.types.Panel):
    """Seed, variations and place"""

    bl_idname = "DREAMCRAFT3D_PT_options"
    bl_parent_id = DREAMCRAFT3D_PT_main.bl_idname
    bl_label = "Options"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 (Blender wants a set)

    def draw(self, context):
        layout, form = self.layout, context.scene.dreamcraft3d
        layout.use_property_split = True
        layout.use_property_decorate = False
        row = layout.row(align=True)
        row.prop(form, "seed")
        row.operator("dreamcraft3d.roll_seed", text="", icon="FILE_REFRESH")
        layout.prop(form, "variations")
        layout.prop(form, "place")


CLASSES = (DREAMCRAFT3D_PT_options,)
