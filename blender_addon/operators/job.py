# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a job: cancel, resume, forget, place in this scene."""

import bpy
from bpy.props import StringProperty

from .. import pump
from ..core.jobs import title_of
from ..scene import target


class JobOperator:
    """An operator about one job."""

    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    job: StringProperty(options={"HIDDEN", "SKIP_SAVE"})


class DREAMCRAFT3D_OT_cancel(JobOperator, bpy.types.Operator):
    """Stop after the present step; it can go on later"""

    bl_idname = "dreamcraft3d.cancel"
    bl_label = "Cancel"

    def execute(self, context):
        pump.studio().cancel(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_resume(JobOperator, bpy.types.Operator):
    """Go on from where it was stopped"""

    bl_idname = "dreamcraft3d.resume"
    bl_label = "Resume"

    def execute(self, context):
        pump.studio().resume(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_forget(JobOperator, bpy.types.Operator):
    """Delete what the backend keeps of this job; objects in your scenes stay"""

    bl_idname = "dreamcraft3d.forget"
    bl_label = "Delete Job"

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        pump.studio().forget(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_attach(JobOperator, bpy.types.Operator):
    """Bring the object of this job into the scene, at the 3D cursor, as it is and as it grows"""

    bl_idname = "dreamcraft3d.attach"
    bl_label = "Place in Scene"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        studio = pump.studio()
        made = target.find(self.job)
        if made is not None:
            target.place(context, made)
        else:
            known = studio.jobs.by_id.get(self.job)
            if known is None:
                self.report({"ERROR"}, "The backend has no such job. Choose one from the list.")
                return {"CANCELLED"}
            target.make(context, self.job, title_of(known), context.scene.dreamcraft3d.size)
        studio.watch([self.job])
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_cancel, DREAMCRAFT3D_OT_resume, DREAMCRAFT3D_OT_forget, DREAMCRAFT3D_OT_attach)
