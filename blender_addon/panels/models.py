# SPDX-License-Identifier: GPL-3.0-or-later
"""The full-size models that the backend may have: what for, how large, under which licence, and whether they lie there."""

from ..translations import said
from .words import disk_size, draw_fault, draw_sentence

ICONS = {"present": "CHECKMARK", "downloading": "IMPORT", "waiting": "TIME", "absent": "BLANK1"}


def draw_models(context, layout, models, connected):
    """All of them; ``models`` as the backend told them, or None."""
    if models is None or not connected:
        draw_sentence(context, layout, "The backend tells which models it has once it runs.")
        return
    free = f"{models.free_gigabytes:.0f}"
    about = f"For larger presets; Demo and Draft need none. They lie in {models.folder}, where {free} GB are free."
    draw_sentence(context, layout, about)
    for model in models.models:
        box = layout.box().column(align=True)
        draw_model(box, model, models.free_gigabytes)
        if model.fault is not None:
            draw_fault(context, box, model.fault)


def draw_model(layout, model, free_gigabytes):
    """Two lines: what it is, then what it asks for."""
    row = layout.row()
    row.label(text=model.about, icon=ICONS[model.state], translate=False)
    button = row.row()
    button.alignment = "RIGHT"
    if model.state in ("downloading", "waiting"):
        button.operator("dreamcraft3d.cancel_download", text="", icon="CANCEL").model = model.name
    elif model.state == "absent":
        button.enabled = model.gigabytes < free_gigabytes
        button.operator("dreamcraft3d.download_model", icon="IMPORT").model = model.name
    row = layout.split(factor=0.55)
    row.label(text=said(f"{model.name}, for {model.use}"), icon="BLANK1", translate=False)
    row.label(text=said(f"{model.gigabytes:.1f} GB, {model.licence}"), translate=False)
    if model.non_commercial:
        layout.label(text="Its license forbids commercial use", icon="ERROR")
    if model.state == "waiting":
        layout.label(text="Waits for the download before it", icon="BLANK1")
    if model.state == "downloading":
        text = f"{disk_size(model.done)} of {disk_size(model.total)}" if model.total else "Asking the hub"
        layout.progress(factor=model.done / model.total if model.total else 0.0, text=said(text), translate=False)
