# SPDX-License-Identifier: GPL-3.0-or-later
"""How the backend is, and the button that mends what is wrong with it."""

import bpy

from .. import pump
from .words import SidebarPanel, draw_sentence

ICONS = {
    "ready": "CHECKMARK",
    "busy": "PLAY",
    "off": "PAUSE",
    "missing": "IMPORT",
    "failed": "ERROR",
    "refused": "ERROR",
    "lost": "UNLINKED",
}
BUTTON_ICONS = {
    "install_backend": "IMPORT",
    "cancel_install": "CANCEL",
    "start_backend": "PLAY",
    "restart_backend": "FILE_REFRESH",
}


class DREAMCRAFT3D_PT_backend(SidebarPanel, bpy.types.Panel):
    """What computes the objects"""

    bl_idname = "DREAMCRAFT3D_PT_backend"
    bl_label = "Backend"

    def draw(self, context):
        layout = self.layout
        status = pump.studio().session.status
        title = f"{status.title} ({status.device})" if status.device else status.title
        layout.label(text=title, icon=ICONS.get(status.phase, "TIME"), translate=False)
        if status.phase == "installing":
            layout.progress(factor=status.factor, text=f"{status.factor:.0%}", translate=False)
        if status.memory:
            layout.label(text=status.memory, icon="MEMORY", translate=False)
        if status.sentence:
            draw_sentence(context, layout, status.sentence)
        column = layout.column(align=True)
        if status.mend:
            column.operator(f"dreamcraft3d.{status.mend}", icon=BUTTON_ICONS[status.mend])
        elif status.phase in ("ready", "busy"):
            column.operator("dreamcraft3d.restart_backend", icon="FILE_REFRESH")
        column.operator("dreamcraft3d.open_log", icon="TEXT")


CLASSES = (DREAMCRAFT3D_PT_backend,)
