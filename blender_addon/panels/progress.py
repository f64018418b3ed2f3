# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a job is: the active object's, or what runs."""

import bpy

from .. import pump
from ..core.jobs import progress_of, title_of
from ..scene import target
from .words import SidebarPanel, draw_fault, draw_sentence


class DREAMCRAFT3D_PT_progress(SidebarPanel, bpy.types.Panel):
    """The job of the active object, or the one that runs"""

    bl_idname = "DREAMCRAFT3D_PT_progress"
    bl_label = "Progress"

    def draw(self, context):
        layout = self.layout
        studio = pump.studio()
        chosen = context.object.get(target.JOB, "") if context.object is not None else ""
        job = studio.jobs.in_focus(chosen)
        known = studio.jobs.by_id.get(job)
        fault = studio.jobs.fault(job)
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
        icon = pump.pictures().icon(known.job)
        if icon and known.state != "done":
            layout.template_icon(icon_value=icon, scale=5)
        column = layout.column(align=True)
        column.progress(factor=progress.job.factor, text=progress.job.text, translate=False)
        if known.state != "done":
            column.progress(factor=progress.stage.factor, text=progress.stage.text, translate=False)
            for sentence in (progress.step, progress.eta) if progress.step else (known.sentence,):
                draw_sentence(context, layout, sentence)
        if known.job in studio.previews.stale():
            made = target.find(known.job)
            if made is not None and not target.writable(made):
                draw_sentence(context, layout, "The object is brought up to date when you leave this mode.", "PAUSE")
        row = layout.row(align=True)
        if studio.jobs.may_cancel(known.job):
            row.operator("dreamcraft3d.cancel", icon="CANCEL").job = known.job
        if studio.jobs.may_resume(known.job):
            row.operator("dreamcraft3d.resume", icon="PLAY").job = known.job
        if context.space_data is not None and context.space_data.shading.type in ("SOLID", "WIREFRAME"):
            row.operator("dreamcraft3d.show_colors", icon="SHADING_TEXTURE")


CLASSES = (DREAMCRAFT3D_PT_progress,)
