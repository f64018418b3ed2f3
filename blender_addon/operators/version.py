# SPDX-License-Identifier: GPL-3.0-or-later
"""Previous and next version of the active object."""

import bpy

from .. import pump
from ..scene import target, versions
from ..translations import said


class VersionOperator:
    """An operator that shows another version."""

    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender wants a set)

    @classmethod
    def poll(cls, context):
        made = context.object
        if made is None or made.type != "MESH" or made.library is not None:
            return False
        number, count = versions.place(made)
        if not 0 <= number + cls.step < count:
            cls.poll_message_set(said(cls.none))
            return False
        return True

    def execute(self, context):
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        made = context.object
        versions.show(made, versions.place(made)[0] + self.step)
        if target.growing(made):  # what has come while it was out of sight
            pump.studio().watch([target.job_of(made)])
        return {"FINISHED"}


class DREAMCRAFT3D_OT_previous_version(VersionOperator, bpy.types.Operator):
    """Show the active object as it was before this version"""

    bl_idname = "dreamcraft3d.previous_version"
    bl_label = "Previous Version"
    step, none = -1, "This is the first version"


class DREAMCRAFT3D_OT_next_version(VersionOperator, bpy.types.Operator):
    """Show the active object as it was made next"""

    bl_idname = "dreamcraft3d.next_version"
    bl_label = "Next Version"
    step, none = 1, "This is the last version"


CLASSES = (DREAMCRAFT3D_OT_previous_version, DREAMCRAFT3D_OT_next_version)
