# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is: the active object's, or what runs."""

import bpy

from .. import pump
from ..core.jobs import progress_of, title_of
from ..scene import target, versions
from ..translations import said
from .words import SidebarPanel, draw_fault, draw_sentence, sentence_of

REFERENCE_SCALE, SAMPLES_SCALE = 5, 11
"""Of pictures, in heights of a button; samples are as wide as the sidebar is at first."""
UNKNOWN = (
    "This backend does not have the job of this object: another one has, or it was deleted. Connect to the other one, "
    "or keep what is there."
)


def focused(context: bpy.types.Context) -> str:
    """The job to show: the active object's, or the one that runs; empty if there is none."""
    return pump.studio().jobs.in_focus(target.job_of(context.object))


def unknown(thing, studio):
    """Whether an object grows by a job that the backend does not have."""
    job, jobs = target.job_of(thing), studio.jobs
    if not job or not studio.session.connected or job in jobs.by_id or job in jobs.ordered:
        return False
    return target.growing(thing)


def draw_keep(layout, made, job):
    """The button for what is there already."""
    if len(made.data.polygons) > 0:
        layout.operator("dreamcraft3d.keep", icon="DUPLICATE").job = job


class DREAMCRAFT3D_PT_progress(SidebarPanel, bpy.types.Panel):
    """The job of the active object, or the one that runs"""

    bl_idname = "DREAMCRAFT3D_PT_progress"
    bl_label = "Progress"

    def draw(self, context):
        layout = self.layout
        studio = pump.studio()
        job = focused(context)
        known = studio.jobs.by_id.get(job)
        fault = studio.jobs.fault(job)
        if unknown(context.object, studio):
            box = layout.box()
            draw_sentence(context, box, UNKNOWN, "ERROR")
            draw_keep(box, context.object, target.job_of(context.object))
        if job in studio.jobs.ordered:
            layout.label(text=studio.jobs.ordered[job], icon="MESH_ICOSPHERE", translate=False)
            draw_sentence(context, layout, "Waiting for the backend.", "TIME")
        elif known is None and fault is None:
            draw_sentence(context, layout, "Nothing is being made. Type what you want, and press Generate.")
            return
        if known is not None:
            self.draw_job(context, layout, studio, known)
        if fault is not None:
            draw_fault(context, layout, fault)

    def draw_job(self, context, layout, studio, known):
        progress = progress_of(known)
        layout.label(text=title_of(known), icon="MESH_ICOSPHERE", translate=False)
        icon = pump.pictures().icon(known.job, "reference")
        if icon and known.state != "done":
            layout.template_icon(icon_value=icon, scale=REFERENCE_SCALE)
        column = layout.column(align=True)
        column.progress(factor=progress.job.factor, text=said(progress.job.text), translate=False)
        if known.state != "done":
            column.progress(factor=progress.stage.factor, text=said(progress.stage.text), translate=False)
            for sentence in filter(None, (progress.step, progress.eta) if progress.step else (known.sentence,)):
                draw_sentence(context, layout, sentence)
        if known.job in studio.previews.stale():
            made = target.find(known.job)
            if made is not None and not target.writable(made):
                waits = "The object is brought up to date when nothing edits, renders or bakes it any longer."
                draw_sentence(context, layout, waits, "PAUSE")
        row = layout.row(align=True)
        if studio.jobs.may_pause(known.job):
            row.operator("dreamcraft3d.pause", icon="PAUSE").job = known.job
        if studio.jobs.may_resume(known.job):
            row.operator("dreamcraft3d.resume", icon="PLAY").job = known.job
        if studio.jobs.may_cancel(known.job):
            row.operator("dreamcraft3d.cancel", icon="CANCEL").job = known.job
        column = layout.column(align=True)
        if studio.jobs.may_advance(known.job):
            column.operator("dreamcraft3d.advance", icon="FF").job = known.job
        made = target.find(known.job)
        if made is not None and target.growing(made):
            draw_keep(column, made, known.job)
        active = made is not None and made == context.object
        if active and studio.jobs.may_resume(known.job) and versions.place(made)[0] > 0:
            column.operator("dreamcraft3d.previous_version", icon="TRIA_LEFT")
        if context.space_data is not None and context.space_data.shading.type in ("SOLID", "WIREFRAME"):
            column.operator("dreamcraft3d.show_colors", icon="SHADING_TEXTURE")


class DREAMCRAFT3D_PT_samples(SidebarPanel, bpy.types.Panel):
    """The reference, and the restored views of the object that painting learns from"""

    bl_idname = "DREAMCRAFT3D_PT_samples"
    bl_parent_id = DREAMCRAFT3D_PT_progress.bl_idname
    bl_label = "What It Learns From"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        return "samples" in pump.studio().previews.pictures.get(focused(context), {})

    def draw(self, context):
        job = focused(context)
        samples = pump.studio().previews.pictures[job]["samples"]
        draw_sentence(context, self.layout, sentence_of(samples.caption))
        self.layout.template_icon(icon_value=pump.pictures().icon(job, "samples"), scale=SAMPLES_SCALE)


class DREAMCRAFT3D_PT_surface(SidebarPanel, bpy.types.Panel):
    """How far away the reference's parts are taken to be, and which way they face"""

    bl_idname = "DREAMCRAFT3D_PT_surface"
    bl_parent_id = DREAMCRAFT3D_PT_progress.bl_idname
    bl_label = "Depth and Normals"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        return "surface" in pump.studio().previews.pictures.get(focused(context), {})

    def draw(self, context):
        self.layout.template_icon(icon_value=pump.pictures().icon(focused(context), "surface"), scale=SAMPLES_SCALE)


CLASSES = (DREAMCRAFT3D_PT_progress, DREAMCRAFT3D_PT_samples, DREAMCRAFT3D_PT_surface)
