# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture that is looked at before an object is ordered from it, and whether Generate uses it."""

from .. import pump
from ..operators.generate import basis_of
from .words import draw_fault, draw_sentence

ICON_SCALE = 6
"""Of the picture, in heights of a button."""


def draw_draft(context, layout, studio):
    """The button that makes one; or the one there is, and what can be done with it."""
    draft, form = studio.draft, context.scene.dreamcraft3d
    if draft is None:
        layout.operator("dreamcraft3d.preview_picture", icon="IMAGE_DATA")
        return
    box = layout.box()
    fault = studio.jobs.fault(draft.job)
    icon = pump.pictures().icon(draft.job, "reference")
    if icon:
        box.template_icon(icon_value=icon, scale=ICON_SCALE)
    if draft.words:
        draw_sentence(context, box, draft.words)
    if fault is not None:
        draw_fault(context, box, fault)
    elif not draft.png:
        draw_sentence(context, box, "The picture is being made.", "TIME")
    elif draft.serves(basis_of(form)):
        draw_sentence(context, box, "Generate uses this picture.", "CHECKMARK")
    else:
        draw_sentence(context, box, "You have changed the form: Generate makes a new picture.", "INFO")
    row = box.row(align=True)
    if form.source == "NONE":
        row.operator("dreamcraft3d.preview_picture", text="Another Seed", icon="FILE_REFRESH").another = True
    if not draft.serves(basis_of(form)) and (draft.png or fault is not None):
        row.operator("dreamcraft3d.preview_picture", icon="IMAGE_DATA")
    row.operator("dreamcraft3d.discard_picture", text="Discard", icon="X")
