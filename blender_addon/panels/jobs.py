# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that the backend keeps: what runs, what waits in its order, then the others."""

import bpy

from .. import pump
from ..core.jobs import STATES, title_of
from ..translations import said
from .words import SidebarPanel, draw_sentence

MAX_SHOWN = 10
"""Before the others are folded away."""
ICONS = {
    "queued": "TIME",
    "running": "PLAY",
    "pausing": "PAUSE",
    "paused": "PAUSE",
    "cancelling": "CANCEL",
    "cancelled": "CANCEL",
    "done": "CHECKMARK",
    "failed": "ERROR",
}


class DREAMCRAFT3D_PT_jobs(SidebarPanel, bpy.types.Panel):
    """What was made before"""

    bl_idname = "DREAMCRAFT3D_PT_jobs"
    bl_label = "Jobs"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 (Blender wants a set)

    def draw(self, context):
        layout = self.layout
        jobs = pump.studio().jobs
        draft = pump.studio().draft
        listed = [job for job in jobs.in_turn() if draft is None or job.job != draft.job]
        if not listed:
            draw_sentence(context, layout, "No jobs yet. What you generate is kept here.")
        row = layout.row(align=True)
        if jobs.that(jobs.may_pause):
            row.operator("dreamcraft3d.pause_all", icon="PAUSE")
        if jobs.paused:
            row.operator("dreamcraft3d.resume_all", icon="PLAY")
        self.draw_jobs(layout, jobs, listed[:MAX_SHOWN])
        others = listed[MAX_SHOWN:]
        if others:
            header, body = layout.panel("DREAMCRAFT3D_others", default_closed=True)
            header.label(text=said(f"And {len(others)} More"), translate=False)
            if body:
                self.draw_jobs(body, jobs, others)

    def draw_jobs(self, layout, jobs, listed):
        column = layout.column(align=True)
        for job in listed:
            row = column.row(align=True)
            title = title_of(job)
            text = (
                title if job.state == "queued" else f"{title}: {said(STATES[job.state])}"
            )  # beside it are many buttons
            row.label(text=text, icon=ICONS[job.state], translate=False)
            if jobs.may_move(job.job):
                for where, icon in (("up", "TRIA_UP"), ("down", "TRIA_DOWN")):
                    button = row.operator("dreamcraft3d.move", text="", icon=icon)
                    button.job, button.where = job.job, where
            if jobs.may_pause(job.job):
                row.operator("dreamcraft3d.pause", text="", icon="PAUSE").job = job.job
            if jobs.may_resume(job.job):
                row.operator("dreamcraft3d.resume", text="", icon="PLAY").job = job.job
            if jobs.may_cancel(job.job):
                row.operator("dreamcraft3d.cancel", text="", icon="CANCEL").job = job.job
            if jobs.has_object(job.job):
                row.operator("dreamcraft3d.attach", text="", icon="IMPORT").job = job.job
            if jobs.may_forget(job.job) and not jobs.may_cancel(job.job):
                row.operator("dreamcraft3d.forget", text="", icon="TRASH").job = job.job


CLASSES = (DREAMCRAFT3D_PT_jobs,)
