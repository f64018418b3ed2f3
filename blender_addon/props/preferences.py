# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, and the settings of a session that follow from them."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from dreamcraft3d_protocol.connection import default_data_folder

from ..core.settings import Settings

ADDON = __package__.rpartition(".")[0]
VERSION = "0.1.0"


class DREAMCRAFT3D_AP_preferences(bpy.types.AddonPreferences):
    """Where the backend is, and when it starts."""

    bl_idname = ADDON

    python: StringProperty(
        name="Python", description="A Python that has the backend; empty for the add-on's own", subtype="FILE_PATH"
    )
    data: StringProperty(
        name="Data Folder", description="Where jobs are kept; empty for the usual place", subtype="DIR_PATH"
    )
    torch_index: StringProperty(
        name="PyTorch Index", description="A package index to install PyTorch from; empty for PyTorch's own"
    )
    autostart: BoolProperty(
        name="Start Automatically", description="Start the backend when there is something for it to do", default=True
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "autostart")
        layout.prop(self, "python")
        layout.prop(self, "data")
        layout.prop(self, "torch_index")


def settings() -> Settings:
    """As the preferences are now."""
    chosen = bpy.context.preferences.addons[ADDON].preferences
    data = Path(bpy.path.abspath(chosen.data)) if chosen.data.strip() else default_data_folder()
    return Settings(
        python=bpy.path.abspath(chosen.python).strip(),
        data=data,
        home=Path(bpy.utils.extension_path_user(ADDON, create=True)),
        addon=Path(__file__).resolve().parent.parent,
        version=VERSION,
        autostart=chosen.autostart,
        torch_index=chosen.torch_index.strip(),
    )


CLASSES = (DREAMCRAFT3D_AP_preferences,)
