# SPDX-License-Identifier: GPL-3.0-or-later
"""All classes in the order Blender is told of them, and what is kept on scenes and objects."""

from __future__ import annotations

import bpy

from . import keymap, pump, translations
from .operators import backend as backend_operators
from .operators import (
    draft,
    drop,
    files,
    finished,
    generate,
    job,
    keep,
    logs,
    models,
    remote,
    seed,
    version,
    view,
)  # fmt: skip
from .operators import refine as refine_operators
from .panels import backend as backend_panel
from .panels import details, jobs, main, object, options, progress, status_bar
from .panels import refine as refine_panel
from .props import form, preferences
from .props import refine as refine_form
from .props import version as version_entry

MODULES = (
    form, preferences, generate, draft, drop, job, keep, finished, files, backend_operators, remote, models, logs, seed,
    view, main, options, details, progress, object, jobs, backend_panel, refine_form, version_entry, refine_operators,
    version, refine_panel,
)  # fmt: skip
CLASSES = tuple(one for module in MODULES for one in module.CLASSES)


def register() -> None:
    """Add everything; what the timer does begins later, when Blender is ready for it."""
    for one in CLASSES:
        bpy.utils.register_class(one)
    bpy.types.Scene.dreamcraft3d = bpy.props.PointerProperty(type=form.DREAMCRAFT3D_PG_form)
    bpy.types.Scene.dreamcraft3d_refine = bpy.props.PointerProperty(type=refine_form.DREAMCRAFT3D_PG_refine)
    bpy.types.Object.dreamcraft3d_versions = bpy.props.CollectionProperty(type=version_entry.DREAMCRAFT3D_PG_version)
    bpy.types.STATUSBAR_HT_header.append(status_bar.draw)
    keymap.register()
    translations.register(preferences.ADDON)
    pump.begin()


def unregister() -> None:
    """Take everything away, in the opposite order."""
    pump.end()
    bpy.types.STATUSBAR_HT_header.remove(status_bar.draw)
    keymap.unregister()
    translations.unregister(preferences.ADDON)
    del bpy.types.Object.dreamcraft3d_versions
    del bpy.types.Scene.dreamcraft3d_refine
    del bpy.types.Scene.dreamcraft3d
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)
