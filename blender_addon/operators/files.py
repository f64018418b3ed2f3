# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a finished object to files: its texture, or all of it as GLB."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ..scene import files, material
from ..translations import said
from .finished import FinishedOperator


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

    @classmethod
    def poll(cls, context):
        if not super().poll(context):
            return False
        if material.texture_of(context.object) is None:
            cls.poll_message_set(said("The object's own material has no texture any more"))
            return False
        return True

    def write(self, context, path):
        files.save_texture(material.texture_of(context.object), path)


class DREAMCRAFT3D_OT_export_glb(FileOperator, bpy.types.Operator):
    """Export the object with its modifiers, size and rotation, standing on the origin"""

    bl_idname = "dreamcraft3d.export_glb"
    bl_label = "Export GLB"
    bl_options = {"REGISTER"}  # noqa: RUF012 (Blender wants a set)
    suffix = ".glb"

    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})

    @classmethod
    def poll(cls, context):
        if "io_scene_gltf2" not in context.preferences.addons:
            cls.poll_message_set(said("Enable the add-on glTF 2.0 in the preferences first"))
            return False
        return super().poll(context)

    def write(self, context, path):
        files.export_glb(context, context.object, path)


CLASSES = (DREAMCRAFT3D_OT_save_texture, DREAMCRAFT3D_OT_export_glb)
