# SPDX-License-Identifier: GPL-3.0-or-later
"""Dropping a picture file into a viewport or the sidebar."""

import bpy
from bpy.props import StringProperty

from ..scene import place


class DREAMCRAFT3D_OT_drop_picture(bpy.types.Operator):
    """Make the next object from this picture, and where it was dropped"""

    bl_idname = "dreamcraft3d.drop_picture"
    bl_label = "Make Object from Picture"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        if context.region is not None and context.region.type == "WINDOW" and context.region_data is not None:
            form = context.scene.dreamcraft3d
            form.dropped = place.under_mouse(context, (event.mouse_region_x, event.mouse_region_y))
            form.place = "DROP"
            open_sidebar(context)
        return self.execute(context)

    def execute(self, context):
        form = context.scene.dreamcraft3d
        form.source, form.picture = "FILE", self.filepath
        return {"FINISHED"}


def open_sidebar(context):
    """Show the artist the form that was filled."""
    space = context.space_data
    space.show_region_ui = True
    sidebar = next((region for region in context.area.regions if region.type == "UI"), None)
    if sidebar is not None and sidebar.width > 1:  # one that was closed has no tabs until it is drawn
        sidebar.active_panel_category = "DreamCraft3D"


class DREAMCRAFT3D_FH_picture(bpy.types.FileHandler):
    """Pictures dropped into a 3D viewport"""

    bl_idname = "DREAMCRAFT3D_FH_picture"
    bl_label = "DreamCraft3D Picture"
    bl_import_operator = DREAMCRAFT3D_OT_drop_picture.bl_idname
    bl_file_extensions = ".png;.jpg;.jpeg;.webp;.bmp;.tif;.tiff"

    @classmethod
    def poll_drop(cls, context):
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (DREAMCRAFT3D_OT_drop_picture, DREAMCRAFT3D_FH_picture)
