# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a finished object to files: its texture, or all of it as GLB."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ..scene import files, material
from ..translations import said
from .finished import LINKED, FinishedOperator


class FileOperator(FinishedOperator):
    """An operator that asks for a file to write."""

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context, event):
        beside = Path(bpy.data.filepath).parent if bpy.data.is_saved else Path.home()
        self.filepath = str(beside / f"{bpy.path.clean_name(context.object.name)}{self.suffix}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        path = Path(bpy.path.ensure_ext(bpy.path.abspath(self.filepath), self.suffix))
        try:
            self.write(context, path)
        except (OSError, RuntimeError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            self.report({"ERROR"}, said(f"{path} cannot be written: {why}. Choose another place."))
            return {"CANCELLED"}
        self.report({"INFO"}, said(f"Saved {path.name}."))
        return {"FINISHED"}


class DREAMCRAFT3D_OT_save_texture(FileOperator, bpy.types.Operator):
    """Save the object's texture as a file, which the object uses in future"""

    bl_idname = "dreamcraft3d.save_texture"
    bl_label = "Save Texture"
    suffix = ".png"

    filter_glob: StringProperty(default="*.png", options={"HIDDEN"})

    @staticmethod
    def unfit(context):
        texture = material.texture_of(context.object)
        if texture is None:
            return "The object's own material has no texture any more"
        return LINKED if texture.library is not None else ""

    def write(self, context, path):
        files.save_texture(material.texture_of(context.object), path)


class DREAMCRAFT3D_OT_export_glb(FileOperator, bpy.types.Operator):
    """Export the object with its modifiers, size and rotation, standing on the origin"""

    bl_idname = "dreamcraft3d.export_glb"
    bl_label = "Export GLB"
    bl_options = {"REGISTER"}  # noqa: RUF012 (Blender wants a set)
    suffix = ".glb"

    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})

    @staticmethod
    def unfit(context):
        enabled = "io_scene_gltf2" in context.preferences.addons
        return "" if enabled else "Enable the add-on glTF 2.0 in the preferences first"

    def write(self, context, path):
        files.export_glb(context, context.object, path)


CLASSES = (DREAMCRAFT3D_OT_save_texture, DREAMCRAFT3D_OT_export_glb)
