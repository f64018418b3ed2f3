# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences, and the settings of a session that follow from them."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from dreamcraft3d_protocol.connection import default_data_folder

from ..core.remote import Remote
from ..core.settings import Settings

ADDON = __package__.rpartition(".")[0]
VERSION = "0.1.0"
_FOLDER = Path(__file__).resolve().parent.parent


class DREAMCRAFT3D_AP_preferences(bpy.types.AddonPreferences):
    """Where the backend is, and when it starts."""

    bl_idname = ADDON

    where: EnumProperty(
        name="Backend On",
        items=(
            ("LOCAL", "This Computer", "What computes the objects is installed, started and stopped here"),
            ("REMOTE", "Another Computer", "What computes the objects runs elsewhere, and lets this add-on in"),
        ),
    )
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
    endpoint: StringProperty(name="Address", description="Where the backend listens: tcp://HOST:PORT")
    server_key: StringProperty(
        name="Its Public Key", description="By which the backend is known; there, dreamcraft3d keys show tells it"
    )

    def draw(self, context: bpy.types.Context) -> None:
        from ..panels.page import draw_page  # panels know of the pump, which reads these preferences

        draw_page(context, self.layout, self)


def preferences() -> DREAMCRAFT3D_AP_preferences:
    """Blender's own copy of them."""
    return bpy.context.preferences.addons[ADDON].preferences


def settings() -> Settings:
    """As the preferences are now."""
    chosen = preferences()
    data = Path(bpy.path.abspath(chosen.data)) if chosen.data.strip() else default_data_folder()
    remote = Remote(chosen.endpoint.strip(), chosen.server_key.strip(), bpy.app.online_access)
    return Settings(
        python=bpy.path.abspath(chosen.python).strip(),
        data=data,
        home=Path(bpy.utils.extension_path_user(ADDON, create=True)),
        addon=_FOLDER,
        version=VERSION,
        autostart=chosen.autostart,
        torch_index=chosen.torch_index.strip(),
        remote=remote if chosen.where == "REMOTE" else None,
    )


CLASSES = (DREAMCRAFT3D_AP_preferences,)
