# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's buttons: install, stop installing, start, restart."""

import sys
from pathlib import Path

import bpy

from .. import pump
from ..link.install import InstallError


class DREAMCRAFT3D_OT_install_backend(bpy.types.Operator):
    """Download and install what computes the objects, in a folder of its own"""

    bl_idname = "dreamcraft3d.install_backend"
    bl_label = "Install"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        try:
            pump.studio().session.install(Path(sys.executable), bpy.app.online_access)
        except InstallError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMCRAFT3D_OT_cancel_install(bpy.types.Operator):
    """Stop installing; the next try begins anew"""

    bl_idname = "dreamcraft3d.cancel_install"
    bl_label = "Stop Installing"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().session.cancel_install()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_start_backend(bpy.types.Operator):
    """Start what computes the objects"""

    bl_idname = "dreamcraft3d.start_backend"
    bl_label = "Start"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().session.start()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_restart_backend(bpy.types.Operator):
    """End what computes the objects and start it anew; a running job goes on from where it was"""

    bl_idname = "dreamcraft3d.restart_backend"
    bl_label = "Restart"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().session.restart()
        return {"FINISHED"}


CLASSES = (
    DREAMCRAFT3D_OT_install_backend,
    DREAMCRAFT3D_OT_cancel_install,
    DREAMCRAFT3D_OT_start_backend,
    DREAMCRAFT3D_OT_restart_backend,
)
