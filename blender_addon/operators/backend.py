# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's buttons: install, update, remove, stop installing; start, stop, restart; examine."""

import sys
from pathlib import Path

import bpy

from .. import pump
from ..link.install import InstallError
from ..translations import said


class DREAMCRAFT3D_OT_install_backend(bpy.types.Operator):
    """Download and install what computes the objects, in a folder of its own"""

    bl_idname = "dreamcraft3d.install_backend"
    bl_label = "Install"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        try:
            pump.studio().session.install(Path(sys.executable), bpy.app.online_access)
        except InstallError as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMCRAFT3D_OT_update_backend(bpy.types.Operator):
    """Bring what computes the objects to the version that this add-on has; a running job goes on from where it was"""

    bl_idname = "dreamcraft3d.update_backend"
    bl_label = "Update"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        try:
            pump.studio().session.update(bpy.app.online_access)
        except InstallError as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class DREAMCRAFT3D_OT_remove_environment(bpy.types.Operator):
    """Delete the add-on's own environment, which can be installed again; jobs and models stay"""

    bl_idname = "dreamcraft3d.remove_environment"
    bl_label = "Remove Environment"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        try:
            pump.studio().session.remove(Path(sys.executable))
        except InstallError as error:
            self.report({"ERROR"}, said(str(error)))
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


class DREAMCRAFT3D_OT_stop_backend(bpy.types.Operator):
    """End what computes the objects; a running job keeps its checkpoint"""

    bl_idname = "dreamcraft3d.stop_backend"
    bl_label = "Stop"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().session.stop()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_examine(bpy.types.Operator):
    """Have the backend look at what this computer has, and say what is to be mended"""

    bl_idname = "dreamcraft3d.examine"
    bl_label = "Run Doctor"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        pump.studio().session.examine()
        return {"FINISHED"}


CLASSES = (
    DREAMCRAFT3D_OT_install_backend,
    DREAMCRAFT3D_OT_update_backend,
    DREAMCRAFT3D_OT_remove_environment,
    DREAMCRAFT3D_OT_cancel_install,
    DREAMCRAFT3D_OT_start_backend,
    DREAMCRAFT3D_OT_restart_backend,
    DREAMCRAFT3D_OT_stop_backend,
    DREAMCRAFT3D_OT_examine,
)
