# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep This One: a copy of what grows, as it is now."""

import bpy

from ..scene import keep, target
from ..translations import said
from .job import JobOperator


class DREAMCRAFT3D_OT_keep(JobOperator, bpy.types.Operator):
    """Put a copy of the object as it is now beside it; the copy is yours, and the object goes on growing"""

    bl_idname = "dreamcraft3d.keep"
    bl_label = "Keep This One"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        if context.mode != "OBJECT":
            cls.poll_message_set(said("Switch to Object Mode first"))
            return False
        return True

    def execute(self, context):
        made = target.find(self.job)
        if made is None or len(made.data.polygons) == 0:
            self.report({"ERROR"}, said("There is nothing to keep yet. Wait for the first shape."))
            return {"CANCELLED"}
        keep.beside(made)
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_keep,)
