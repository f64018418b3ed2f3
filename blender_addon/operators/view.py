# SPDX-License-Identifier: GPL-3.0-or-later
"""Show Colors: a viewport that shows materials, so that the object is seen being painted."""

import bpy


class DREAMCRAFT3D_OT_show_colors(bpy.types.Operator):
    """Switch this viewport to Material Preview, where the colors of the object can be seen"""

    bl_idname = "dreamcraft3d.show_colors"
    bl_label = "Show Colors"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        return context.area is not None and context.area.type == "VIEW_3D"

    def execute(self, context):
        context.space_data.shading.type = "MATERIAL"
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_show_colors,)
