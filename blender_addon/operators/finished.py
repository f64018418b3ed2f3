# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a finished object: its size, fewer faces, an asset of it."""

import bpy
from bpy.props import FloatProperty, IntProperty

from .. import pump
from ..scene import asset, finished, target
from ..translations import said

LINKED = "The object is linked from another file. Make it local first: Object, Relations, Make Local"


class FinishedOperator:
    """An operator about the active object, which is ours and finished."""

    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        finished = target.finished(context.object) and context.mode == "OBJECT"
        reason = cls.unfit(context) if finished else "Select a finished object, in Object Mode"
        if reason:
            cls.poll_message_set(said(reason))
        return not reason

    @staticmethod
    def unfit(context):
        """Why it cannot be done with a finished object, and what to do; empty if it can."""
        return LINKED if context.object.library is not None else ""


class DREAMCRAFT3D_OT_set_size(FinishedOperator, bpy.types.Operator):
    """Scale the object to a size in the scene's units; what is parented to it stays"""

    bl_idname = "dreamcraft3d.set_size"
    bl_label = "Set Size"

    size: FloatProperty(
        name="Size", description="How long the larger side of the object is", default=1.0, min=0.001, soft_max=100.0,
        subtype="DISTANCE", unit="LENGTH",
    )  # fmt: skip

    def invoke(self, context, event):
        self.size = finished.size(context.object) or self.size
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context):
        if not finished.set_size(context, context.object, self.size):
            self.report({"ERROR"}, said("The object has no extent. Remove the modifier that makes it vanish."))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMCRAFT3D_OT_reduce_faces(FinishedOperator, bpy.types.Operator):
    """Show the object with fewer faces, by a modifier that can be changed or removed later"""

    bl_idname = "dreamcraft3d.reduce_faces"
    bl_label = "Reduce Faces"

    faces: IntProperty(name="Faces", description="How many triangles are left, about", default=1000, min=4)

    def invoke(self, context, event):
        self.faces = max(finished.faces(context, context.object) // 2, 4)
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context):
        finished.reduce_faces(context, context.object, self.faces)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_mark_asset(FinishedOperator, bpy.types.Operator):
    """Put the object into the asset browser, with a preview and its words as tags"""

    bl_idname = "dreamcraft3d.mark_asset"
    bl_label = "Mark as Asset"

    @staticmethod
    def unfit(context):
        made = context.object
        return LINKED if made.library is not None or made.override_library is not None else ""

    def execute(self, context):
        studio, job = pump.studio(), target.job_of(context.object)
        known = studio.jobs.by_id.get(job)
        words = known.prompt if known is not None and known.prompt else context.object.name
        picture = studio.previews.pictures.get(job, {}).get("reference")
        trouble = asset.mark(context.object, words, picture)
        if trouble:
            self.report({"WARNING"}, said(trouble))
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_set_size, DREAMCRAFT3D_OT_reduce_faces, DREAMCRAFT3D_OT_mark_asset)
