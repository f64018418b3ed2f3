# SPDX-License-Identifier: GPL-3.0-or-later
"""What a newcomer need not see of the form: what the quality changes, and what to avoid."""

import bpy

from .. import pump
from ..core.presets import preset
from ..translations import said
from .main import DREAMCRAFT3D_PT_main
from .words import SidebarPanel, draw_sentence


class DREAMCRAFT3D_PT_avoid(SidebarPanel, bpy.types.Panel):
    """What the object shall not be"""

    bl_idname = "DREAMCRAFT3D_PT_avoid"
    bl_parent_id = DREAMCRAFT3D_PT_main.bl_idname
    bl_label = "What to Avoid"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 (Blender wants a set)

    def draw(self, context):
        self.layout.prop(
            context.scene.dreamcraft3d, "negative", text="", placeholder=said("What it shall not be: blue")
        )


class DREAMCRAFT3D_PT_changes(SidebarPanel, bpy.types.Panel):
    """What the chosen quality does otherwise than Demo"""

    bl_idname = "DREAMCRAFT3D_PT_changes"
    bl_parent_id = DREAMCRAFT3D_PT_main.bl_idname
    bl_label = "What This Quality Changes"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    @classmethod
    def poll(cls, context):
        return bool(_chosen(context).changes)

    def draw(self, context):
        for change in _chosen(context).changes:
            draw_sentence(context, self.layout, change, "DOT")


def _chosen(context):
    return preset(context.scene.dreamcraft3d.preset, pump.studio().session.welcome)


CLASSES = (DREAMCRAFT3D_PT_avoid, DREAMCRAFT3D_PT_changes)
