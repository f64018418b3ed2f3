# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a finished object of ours, shown while one is selected."""

import bpy

from ..scene import target
from ..translations import said
from .words import SidebarPanel


class DREAMCRAFT3D_PT_object(SidebarPanel, bpy.types.Panel):
    """The finished object that is active"""

    bl_idname = "DREAMCRAFT3D_PT_object"
    bl_label = "Object"

    @classmethod
    def poll(cls, context):
        return target.finished(context.object)

    def draw(self, context):
        layout = self.layout
        shown = context.object.evaluated_get(context.view_layer.depsgraph).data
        count = said(f"{len(shown.polygons):,} faces")
        layout.label(text=f"{context.object.name} ({count})", icon="MESH_ICOSPHERE", translate=False)
        column = layout.column(align=True)
        column.operator("dreamcraft3d.set_size", text="Set Size...", icon="FULLSCREEN_ENTER")
        column.operator("dreamcraft3d.reduce_faces", text="Reduce Faces...", icon="MOD_DECIM")
        column.operator("dreamcraft3d.mark_asset", icon="ASSET_MANAGER")
        column = layout.column(align=True)
        column.operator("dreamcraft3d.save_texture", text="Save Texture...", icon="TEXTURE")
        column.operator("dreamcraft3d.export_glb", text="Export GLB...", icon="EXPORT")


CLASSES = (DREAMCRAFT3D_PT_object,)
