# SPDX-License-Identifier: GPL-3.0-or-later
"""Full-size models: download one, its licence accepted where it asks for that, and leave off."""

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import pump
from ..panels.words import draw_sentence
from ..translations import said

DIALOG_PIXELS = 420


def known(name):
    """What the backend told of a model; None if there is none of that name."""
    listed = pump.studio().models
    return next((model for model in listed.models if model.name == name), None) if listed is not None else None


class DREAMCRAFT3D_OT_download_model(bpy.types.Operator):
    """Download this model to where the backend is"""

    bl_idname = "dreamcraft3d.download_model"
    bl_label = "Download"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012 (Blender wants a set)

    model: StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    accepted: BoolProperty(name="I Accept the License", options={"SKIP_SAVE"})

    def invoke(self, context, event):
        model = known(self.model)
        if model is not None and (model.non_commercial or model.gated):
            return context.window_manager.invoke_props_dialog(self, width=DIALOG_PIXELS)
        return self.execute(context)

    def draw(self, context):
        layout, model = self.layout, known(self.model)
        if model is None:
            return
        layout.label(text=said(f"{model.name}, {model.gigabytes:.1f} GB"), translate=False)
        forbids = "forbids commercial use of it, and of what it makes" if model.non_commercial else "asks for consent"
        draw_sentence(context, layout, f"Its license, {model.licence}, {forbids}.", "ERROR", DIALOG_PIXELS)
        if model.gated:
            gate = (
                "It is given only to accounts that have accepted it on its page, by the token HF_TOKEN of the backend."
            )
            draw_sentence(context, layout, gate, "BLANK1", DIALOG_PIXELS)
        layout.operator("wm.url_open", text="Read the License", icon="URL").url = model.page
        layout.prop(self, "accepted")

    def execute(self, context):
        model, studio = known(self.model), pump.studio()
        if model is None:
            self.report({"ERROR"}, said("The backend has told of no such model."))
        elif studio.session.settings.remote is None and not bpy.app.online_access:
            self.report(
                {"ERROR"}, said("Blender may not go online. Allow Online Access in Preferences, System, Network.")
            )
        elif (model.non_commercial or model.gated) and not self.accepted:
            self.report({"ERROR"}, said(f"The license of {model.name} must be accepted first."))
        else:
            studio.download(model.name)
            return {"FINISHED"}
        return {"CANCELLED"}


class DREAMCRAFT3D_OT_cancel_download(bpy.types.Operator):
    """Stop this download; files that are whole are kept"""

    bl_idname = "dreamcraft3d.cancel_download"
    bl_label = "Stop Download"
    bl_options = {"REGISTER", "INTERNAL"}  # noqa: RUF012

    model: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context):
        pump.studio().cancel_download(self.model)
        return {"FINISHED"}


CLASSES = (DREAMCRAFT3D_OT_download_model, DREAMCRAFT3D_OT_cancel_download)
