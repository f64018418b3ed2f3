# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object keeps of its versions, saved with it."""

import bpy
from bpy.props import PointerProperty


class DREAMCRAFT3D_PG_version(bpy.types.PropertyGroup):
    """One version of an object."""

    mesh: PointerProperty(name="Mesh", type=bpy.types.Mesh)


CLASSES = (DREAMCRAFT3D_PG_version,)
