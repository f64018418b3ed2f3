# SPDX-License-Identifier: GPL-3.0-or-later
"""How the backend is, and the button that mends what is wrong with it."""

import bpy

from .. import pump
from ..translations import said
from .words import SidebarPanel, draw_sentence

ICONS = {
    "ready": "CHECKMARK",
    "busy": "PLAY",
    "off": "PAUSE",
    "missing": "IMPORT",
    "failed": "ERROR",
    "refused": "ERROR",
    "lost": "UNLINKED",
    "offline": "INTERNET_OFFLINE",
}
BUTTON_ICONS = {
    "install_backend": "IMPORT",
    "update_backend": "IMPORT",
    "cancel_install": "CANCEL",
    "start_backend": "PLAY",
    "restart_backend": "FILE_REFRESH",
    "reconnect": "FILE_REFRESH",
    "copy_key": "COPYDOWN",
    "open_preferences": "PREFERENCES",
    "open_network": "PREFERENCES",
    "open_extensions": "PREFERENCES",
}


def draw_status(context, layout, status):
    """Title, sentence, how far an installation is."""
    title = f"{status.title} ({status.device})" if status.device else status.title
    layout.label(text=said(title), icon=ICONS.get(status.phase, "TIME"), translate=False)
    if status.host:
        layout.label(text=said(f"Remote: {status.host}"), icon="URL", translate=False)
    if status.phase == "installing":
        layout.progress(factor=status.factor, text=f"{status.factor:.0%}", translate=False)
    if status.memory:
        layout.label(text=said(status.memory), icon="MEMORY", translate=False)
    if status.sentence:
        draw_sentence(context, layout, status.sentence)


def draw_mends(layout, status, needless=""):
    """The button that helps, and the one that tries again; not the needless one."""
    for mend in (status.mend, status.again):
        if mend and mend != needless:
            layout.operator(f"dreamcraft3d.{mend}", icon=BUTTON_ICONS[mend])


class DREAMCRAFT3D_PT_backend(SidebarPanel, bpy.types.Panel):
    """What computes the objects"""

    bl_idname = "DREAMCRAFT3D_PT_backend"
    bl_label = "Backend"

    def draw(self, context):
        layout = self.layout
        session = pump.studio().session
        status, local = session.status, session.settings.remote is None
        draw_status(context, layout, status)
        column = layout.column(align=True)
        draw_mends(column, status)
        if status.phase in ("ready", "busy") and local:
            column.operator("dreamcraft3d.restart_backend", icon="FILE_REFRESH")
        if status.mend != "open_preferences":
            column.operator("dreamcraft3d.open_preferences", icon="PREFERENCES")
        if local:
            column.operator("dreamcraft3d.open_log", icon="TEXT")


CLASSES = (DREAMCRAFT3D_PT_backend,)
