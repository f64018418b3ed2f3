# SPDX-License-Identifier: GPL-3.0-or-later
"""The form: prompt, picture, quality, size, and the one big button."""

import bpy

from .. import pump
from ..core.presets import preset, presets
from ..translations import said
from .draft import draw_draft
from .words import SidebarPanel, draw_fault, draw_sentence, sentence_of

PICTURES = {"FILE": "picture", "IMAGE": "image"}
"""The field of the form that names the picture, where there is one."""


class DREAMCRAFT3D_MT_presets(bpy.types.Menu):
    """Presets of the backend"""

    bl_idname = "DREAMCRAFT3D_MT_presets"
    bl_label = "Quality"

    def draw(self, context):
        for known in presets(pump.studio().session.welcome):
            text = said(f"{known.label}: {known.about}")
            chosen = self.layout.operator("wm.context_set_string", text=text, translate=False)
            chosen.data_path = "scene.dreamcraft3d.preset"
            chosen.value = known.name


class DREAMCRAFT3D_PT_main(SidebarPanel, bpy.types.Panel):
    """What to make"""

    bl_idname = "DREAMCRAFT3D_PT_main"
    bl_label = "DreamCraft3D"

    def draw(self, context):
        layout = self.layout
        form = context.scene.dreamcraft3d
        studio = pump.studio()
        self.draw_prompt(layout, form)
        if studio.trouble is not None and studio.trouble.action == "edit":
            draw_fault(context, layout, studio.trouble)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(form, "source")
        if form.source in PICTURES:
            column.prop(form, PICTURES[form.source])
        chosen = preset(form.preset, studio.session.welcome)
        row = column.row(heading="Quality")
        row.menu(DREAMCRAFT3D_MT_presets.bl_idname, text=said(chosen.label), translate=False)
        draw_sentence(context, column, sentence_of(said(chosen.about)))
        column.prop(form, "size")
        draw_draft(context, layout, studio)
        button = layout.column()
        button.scale_y = 1.6
        button.operator("dreamcraft3d.generate", icon="SHADERFX")
        if chosen.estimate:
            draw_sentence(context, layout, chosen.estimate)
        status = studio.session.status
        if status.mend and status.phase not in ("off", "installing"):
            draw_sentence(context, layout, f"{status.title}. See Backend below.", "ERROR")
        if studio.trouble is not None and studio.trouble.action != "edit":
            draw_fault(context, layout, studio.trouble)

    def draw_prompt(self, layout, form):
        """Several lines where this Blender has a field for them."""
        if hasattr(layout, "textbox"):
            layout.textbox(form, "prompt", initial_visible_lines=2, placeholder=said("What to make: a red mushroom"))
        else:
            layout.prop(form, "prompt", text="", placeholder=said("What to make: a red mushroom"))


CLASSES = (DREAMCRAFT3D_MT_presets, DREAMCRAFT3D_PT_main)
