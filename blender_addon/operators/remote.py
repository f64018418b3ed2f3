# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend on another machine: try again, this add-on's key, the file that names the backend; and the ways to Blender's
preferences."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from dreamcraft3d_protocol.errors import ProtocolError

from .. import pump
from ..core.remote import read_key_file
from ..props.preferences import ADDON, preferences
from ..translations import said


class DREAMCRAFT3D_OT_reconnect(bpy.types.Operator):
    """Try to connect again"""

    bl_idname = "dreamcraft3d.reconnect"
    bl_label = "Try Again"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        pump.studio().session.restart()
        return {"FINISHED"}


class DREAMCRAFT3D_OT_copy_key(bpy.types.Operator):
    """Copy this add-on's public key, which whoever runs the backend needs to let it in; it is no secret"""

    bl_idname = "dreamcraft3d.copy_key"
    bl_label = "Copy Key"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        context.window_manager.clipboard = pump.studio().session.public_key
        self.report({"INFO"}, said("This add-on's key is in the clipboard."))
        return {"FINISHED"}


class DREAMCRAFT3D_OT_read_key(bpy.types.Operator):
    """Read address and public key from a file that dreamcraft3d keys show --output wrote on the backend's computer"""

    bl_idname = "dreamcraft3d.read_key"
    bl_label = "Read Key File"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        try:
            endpoint, key = read_key_file(Path(bpy.path.abspath(self.filepath)))
        except ProtocolError as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        chosen = preferences()
        chosen.server_key = key
        chosen.endpoint = endpoint or chosen.endpoint
        return {"FINISHED"}


class DREAMCRAFT3D_OT_open_preferences(bpy.types.Operator):
    """Show the add-on's page in the preferences: backend, models, log, doctor"""

    bl_idname = "dreamcraft3d.open_preferences"
    bl_label = "Preferences"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        return bpy.ops.preferences.addon_show(module=ADDON)


class DREAMCRAFT3D_OT_open_network(bpy.types.Operator):
    """Show where Blender is allowed to go online"""

    bl_idname = "dreamcraft3d.open_network"
    bl_label = "Allow Online Access"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        return bpy.ops.screen.userpref_show(section="SYSTEM")


class DREAMCRAFT3D_OT_open_extensions(bpy.types.Operator):
    """Show where a newer zip of the add-on is installed from disk"""

    bl_idname = "dreamcraft3d.open_extensions"
    bl_label = "Get Extensions"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    def execute(self, context):
        return bpy.ops.screen.userpref_show(section="EXTENSIONS")


CLASSES = (
    DREAMCRAFT3D_OT_reconnect,
    DREAMCRAFT3D_OT_copy_key,
    DREAMCRAFT3D_OT_read_key,
    DREAMCRAFT3D_OT_open_preferences,
    DREAMCRAFT3D_OT_open_network,
    DREAMCRAFT3D_OT_open_extensions,
)
