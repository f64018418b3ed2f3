# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's page in the preferences: the backend of this machine or another, models, log, doctor."""

from .. import keymap, pump
from ..link.process import tail
from ..translations import said
from .backend import draw_mends, draw_status
from .models import draw_models
from .words import disk_size, draw_fact, draw_sentence

LOG_LINES = 8
LOG_CHARACTERS = 160


def draw_page(context, layout, preferences):
    """All of it."""
    layout.use_property_split = True
    layout.use_property_decorate = False
    studio = pump.studio()
    session = studio.session
    layout.row().prop(preferences, "where", expand=True)
    status = session.status
    box = layout.box()
    draw_status(context, box, status)
    if preferences.where == "REMOTE":
        draw_buttons(box, status, ())
        draw_remote(layout, preferences, session)
    else:
        draw_buttons(box, status, life_of(status.phase))
        draw_local(layout, preferences, session)
    body = section(layout, "models", "Models")
    if body:
        draw_models(context, body, studio.models, session.connected)
    body = section(layout, "shortcuts", "Shortcuts")
    if body:
        keymap.draw(context, body)
    if preferences.where == "LOCAL":
        body = section(layout, "log", "Log")
        if body:
            draw_log(context, body, session)
        body = section(layout, "doctor", "Doctor")
        if body:
            draw_doctor(context, body, session)


def section(layout, name, title):
    """A part that can be folded away; None while it is."""
    header, body = layout.panel(f"DREAMCRAFT3D_{name}", default_closed=True)
    header.label(text=title)
    return body


def life_of(phase):
    """Operators that a backend of this machine has besides the one that mends."""
    if phase in ("ready", "busy"):
        return (("stop_backend", "CANCEL"), ("restart_backend", "FILE_REFRESH"))
    return (("stop_backend", "CANCEL"),) if phase in ("starting", "connecting", "lost") else ()


def draw_buttons(layout, status, more):
    row = layout.row(align=True)
    draw_mends(row, status, needless="open_preferences")  # they are open
    for operator, icon in more:
        row.operator(f"dreamcraft3d.{operator}", icon=icon)


def draw_local(layout, preferences, session):
    environment = session.environment
    column = layout.column()
    column.prop(preferences, "autostart")
    column.prop(preferences, "python", placeholder=said("The add-on's own"))
    column.prop(preferences, "data", placeholder=str(session.settings.data))
    column.prop(preferences, "torch_index", placeholder=said("PyTorch's own"))
    found = environment.search.found
    if found is not None:
        named = "named above" if preferences.python else "named by DREAMCRAFT3D_PYTHON"
        whose = "the add-on's own" if environment.own else named
        draw_fact(column, "Backend", f"Version {environment.search.version}, {whose}")
        draw_fact(column, "", str(found))
    if environment.made:
        size = environment.size
        draw_fact(column, "Environment", "Counting" if size is None else disk_size(size))
        row = column.split(factor=0.4)
        row.label()
        buttons = row.row(align=True)
        if environment.update and session.status.mend != "update_backend":
            text = said(f"Update to {environment.update}")
            buttons.operator("dreamcraft3d.update_backend", text=text, icon="IMPORT", translate=False)
        if environment.installation is None:
            buttons.operator("dreamcraft3d.remove_environment", icon="TRASH")


def draw_remote(layout, preferences, session):
    column = layout.column()
    column.prop(preferences, "endpoint", placeholder="tcp://studio.local:5555")
    row = column.row(align=True)
    row.prop(preferences, "server_key", placeholder=said("40 characters"))
    row.operator("dreamcraft3d.read_key", text="", icon="FILEBROWSER")
    if session.public_key:
        draw_fact(column, "This Add-on's Key", session.public_key, button=("dreamcraft3d.copy_key", "COPYDOWN"))


def draw_log(context, layout, session):
    log = session.settings.newest_log
    if log is None:
        draw_sentence(context, layout, "There is no log yet.")
        return
    box = layout.box().column(align=True)
    box.scale_y = 0.7
    for line in tail(log, LOG_LINES):
        box.label(text=line[:LOG_CHARACTERS], translate=False)
    layout.operator("dreamcraft3d.open_log", icon="TEXT")


def draw_doctor(context, layout, session):
    doctor = session.doctor
    if session.environment.search.found is None:
        draw_sentence(context, layout, "The doctor comes with the backend. Install that first.")
        return
    if doctor is None:
        draw_sentence(context, layout, "The doctor looks at this computer: graphics card, kernels, weights, disk.")
    else:
        for finding in doctor.findings:
            draw_sentence(context, layout, finding.text, "CHECKMARK" if finding.good else "ERROR")
        if doctor.sentence:
            draw_sentence(context, layout, doctor.sentence, "ERROR")
        if not doctor.over:
            layout.label(text="Looking", icon="TIME")
    layout.operator("dreamcraft3d.examine", icon="VIEWZOOM")
