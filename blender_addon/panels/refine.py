# SPDX-License-Identifier: GPL-3.0-or-later
"""Refine: what is done to the active object, and which version of it is shown."""

import bpy

from .. import pump
from ..core.presets import preset
from ..core.refinement import missing_base
from ..operators.refine import unfit
from ..scene import target, versions
from ..translations import said
from .main import DREAMCRAFT3D_MT_presets, DREAMCRAFT3D_PT_main
from .words import SidebarPanel, draw_sentence

CONVERTIBLE = ("MESH", "CURVE", "SURFACE", "FONT", "META", "CURVES")
SOURCES = {"GROUP": "group", "ATTRIBUTE": "attribute"}
BUTTONS = {"RETEXTURE": "retexture", "REPAINT": "repaint", "RESCULPT": "resculpt", "GO_ON": "go_on"}


class DREAMCRAFT3D_PT_refine(SidebarPanel, bpy.types.Panel):
    """Make a better version of the active object"""

    bl_idname = "DREAMCRAFT3D_PT_refine"
    bl_parent_id = DREAMCRAFT3D_PT_main.bl_idname
    bl_label = "Refine"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        return context.object is not None and context.object.type in CONVERTIBLE

    def draw(self, context):
        layout, form, made = self.layout, context.scene.dreamcraft3d_refine, context.object
        known = pump.studio().jobs.by_id.get(target.job_of(made))
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(form, "way")
        layout.prop(form, "prompt", placeholder=known.prompt if known is not None else said("What it shall become"))
        missing = "" if form.prompt.strip() or known is not None else "Type what it shall become."
        if form.way == "RETEXTURE" and made.type == "MESH":
            layout.prop_search(form, "uv", made.data, "uv_layers")
        elif form.way == "REPAINT":
            self.draw_part(layout, form, made)
        elif form.way == "GO_ON":
            layout.prop(form, "stage")
            missing = missing_base(known, form.stage)
        row = layout.row(heading="Quality")
        name = context.scene.dreamcraft3d.preset
        row.menu(
            DREAMCRAFT3D_MT_presets.bl_idname,
            text=said(preset(name, pump.studio().session.welcome).label),
            translate=False,
        )
        missing = unfit(made) or missing
        if missing:
            draw_sentence(context, layout, said(missing).rstrip(".") + ".", "INFO")
        column = layout.column()
        column.enabled = not missing
        column.scale_y = 1.3
        self.draw_button(column, form)
        if made.type == "MESH":
            self.draw_versions(layout, made)

    def draw_part(self, layout, form, made):
        layout.prop(form, "part")
        if form.part == "GROUP":
            layout.prop_search(form, "group", made, "vertex_groups")
        elif form.part == "ATTRIBUTE" and made.type == "MESH":
            layout.prop_search(form, "attribute", made.data, "color_attributes")
        elif form.part == "IMAGE":
            layout.prop(form, "mask")

    def draw_button(self, layout, form):
        asked = layout.operator(f"dreamcraft3d.{BUTTONS[form.way]}", icon="SHADERFX")
        asked.prompt = form.prompt
        if form.way == "RETEXTURE":
            asked.uv = form.uv
        elif form.way == "REPAINT":
            asked.part = form.part
            image = form.mask.name if form.mask is not None else ""
            asked.source = image if form.part == "IMAGE" else getattr(form, SOURCES.get(form.part, "group"))
        elif form.way == "GO_ON":
            asked.stage = form.stage

    def draw_versions(self, layout, made):
        number, count = versions.place(made)
        if count == 1:
            return
        row = layout.row(align=True)
        row.operator("dreamcraft3d.previous_version", text="", icon="TRIA_LEFT")
        row.label(text=said(f"Version {number + 1} of {count}"), translate=False)
        row.operator("dreamcraft3d.next_version", text="", icon="TRIA_RIGHT")


CLASSES = (DREAMCRAFT3D_PT_refine,)
