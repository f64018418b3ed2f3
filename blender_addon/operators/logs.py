# SPDX-License-Identifier: GPL-3.0-or-later
"""Open Log: what the backend, or its installation, has said."""

import bpy

from .. import pump


class DREAMCRAFT3D_OT_open_log(bpy.types.Operator):
    """Show what the backend has said, or its installation while there is no backend"""

    bl_idname = "dreamcraft3d.open_log"
    bl_label = "Open Log"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        settings = pump.studio().session.settings
        logs = [file for file in (settings.log, settings.install_log) if file.is_file()]
        if not logs:
            self.report({"INFO"}, "There is no log yet.")
            return {"CANCELLED"}
        newest = max(logs, key=lambda file: file.stat().st_mtime)
        bpy.ops.wm.path_open(filepath=str(newest))
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_open_log,)
