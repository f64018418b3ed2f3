# SPDX-License-Identifier: GPL-3.0-or-later
"""Open Log: what the backend, or its installation, has said."""

import bpy

from .. import pump
from ..translations import said


class DREAMCRAFT3D_OT_open_log(bpy.types.Operator):
    """Show what the backend has said, or its installation while there is no backend"""

    bl_idname = "dreamcraft3d.open_log"
    bl_label = "Open Log"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        newest = pump.studio().session.settings.newest_log
        if newest is None:
            self.report({"INFO"}, said("There is no log yet."))
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(newest))
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_open_log,)
