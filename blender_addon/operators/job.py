# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a job: cancel, pause, resume, hurry, move, forget, place in this scene."""

import bpy
from bpy.props import EnumProperty, StringProperty

from .. import pump
from ..core.jobs import title_of
from ..scene import target
from ..translations import said


class JobOperator:
    """An operator about one job."""

    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    job: StringProperty(options={"HIDDEN", "SKIP_SAVE"})


class DREAMCRAFT3D_OT_cancel(JobOperator, bpy.types.Operator):
    """Stop after the present step; it can go on later"""

    bl_idname = "dreamcraft3d.cancel"
    bl_label = "Cancel"

    def execute(self, context):
        jobs = pump.studio().jobs
        job = self.job or jobs.in_focus(target.job_of(context.object))  # a shortcut names none
        if not jobs.may_cancel(job):
            return {"CANCELLED"}
        pump.studio().cancel(job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_resume(JobOperator, bpy.types.Operator):
    """Go on from where it was stopped"""

    bl_idname = "dreamcraft3d.resume"
    bl_label = "Resume"

    def execute(self, context):
        pump.studio().resume(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_pause(JobOperator, bpy.types.Operator):
    """Let it rest after the present step. It keeps its place; when nothing else is to be done, the memory is given back"""

    bl_idname = "dreamcraft3d.pause"
    bl_label = "Pause"

    def execute(self, context):
        pump.studio().pause(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_pause_all(bpy.types.Operator):
    """Let all jobs rest, so that the graphics card and the memory are free for other work"""

    bl_idname = "dreamcraft3d.pause_all"
    bl_label = "Pause All"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().pause_all()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_resume_all(bpy.types.Operator):
    """Let all paused jobs go on, in the order of the queue"""

    bl_idname = "dreamcraft3d.resume_all"
    bl_label = "Resume All"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().resume_all()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_advance(JobOperator, bpy.types.Operator):
    """Leave out the rest of this stage's steps: the object is good enough for the next stage. This cannot be taken back"""

    bl_idname = "dreamcraft3d.advance"
    bl_label = "Go to Next Stage"

    def execute(self, context):
        studio = pump.studio()
        if not studio.jobs.may_advance(self.job):
            self.report({"INFO"}, said("This stage is ending already."))
            return {"CANCELLED"}
        studio.advance(self.job)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_move(JobOperator, bpy.types.Operator):
    """Change the order in which waiting jobs are done. Ctrl-click moves it all the way"""

    bl_idname = "dreamcraft3d.move"
    bl_label = "Move in Queue"

    where: EnumProperty(
        items=[("front", "Front", ""), ("up", "Up", ""), ("down", "Down", ""), ("back", "Back", "")],
        default="up", options={"HIDDEN", "SKIP_SAVE"},
    )  # fmt: skip

    def invoke(self, context, event):
        if event.ctrl:
            self.where = {"up": "front", "down": "back"}.get(self.where, self.where)
        return self.execute(context)

    def execute(self, context):
        pump.studio().move(self.job, self.where)
        return {"FINISHED"}


class DREAMCRAFT3D_OT_forget(JobOperator, bpy.types.Operator):
    """Delete what the backend keeps of this job; objects in your scenes stay"""

    bl_idname = "dreamcraft3d.forget"
    bl_label = "Delete Job"

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        studio = pump.studio()
        if not studio.jobs.may_forget(self.job):  # it may have begun while Blender asked
            return {"CANCELLED"}
        studio.forget(self.job)
        for made in target.all_of(self.job):
            if target.growing(made) and target.showing(made):
                target.let_go(made)
        studio.rejected.append(self.job)  # takes the box away that nothing has come into
        return {"FINISHED"}


class DREAMCRAFT3D_OT_attach(JobOperator, bpy.types.Operator):
    """Bring the object of this job into the scene, at the 3D cursor, as it is and grows; one that is there is selected"""

    bl_idname = "dreamcraft3d.attach"
    bl_label = "Place in Scene"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        studio = pump.studio()
        made = target.find(self.job)
        if made is not None:
            target.place(context, made)
            target.select(context, [made])
        else:
            known = studio.jobs.by_id.get(self.job)
            if known is None:
                self.report({"ERROR"}, said("The backend has no such job. Choose one from the list."))
                return {"CANCELLED"}
            target.make(context, self.job, title_of(known), context.scene.dreamcraft3d.size)
        studio.watch([self.job])
        return {"FINISHED"}


CLASSES = (
    DREAMCRAFT3D_OT_cancel,
    DREAMCRAFT3D_OT_pause,
    DREAMCRAFT3D_OT_pause_all,
    DREAMCRAFT3D_OT_resume,
    DREAMCRAFT3D_OT_resume_all,
    DREAMCRAFT3D_OT_advance,
    DREAMCRAFT3D_OT_move,
    DREAMCRAFT3D_OT_forget,
    DREAMCRAFT3D_OT_attach,
)
