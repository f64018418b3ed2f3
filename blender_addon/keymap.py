# SPDX-License-Identifier: GPL-3.0-or-later
"""Shortcuts in the 3D viewport, all off until the artist turns them on in the preferences."""

from __future__ import annotations

import bpy
import rna_keymap_ui

KEYMAP = "3D View"
SHORTCUTS = (("dreamcraft3d.generate", "G"), ("dreamcraft3d.cancel", "X"))
"""Operators, and the keys to press with Ctrl, Shift and Alt."""

_made: list[bpy.types.KeyMapItem] = []


def register() -> None:
    """Offer the shortcuts; a Blender without keys has no place for them."""
    ours = bpy.context.window_manager.keyconfigs.addon
    if ours is None:
        return
    keymap = ours.keymaps.new(name=KEYMAP, space_type="VIEW_3D")
    for operator, key in SHORTCUTS:
        item = keymap.keymap_items.new(operator, key, "PRESS", ctrl=True, shift=True, alt=True)
        item.active = False
        _made.append(item)


def unregister() -> None:
    """Take them away."""
    ours = bpy.context.window_manager.keyconfigs.addon
    keymap = ours.keymaps.get(KEYMAP) if ours is not None else None
    if keymap is not None:
        for item in _made:
            keymap.keymap_items.remove(item)
    _made.clear()


def draw(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The shortcuts as the artist has them, to be turned on and changed."""
    chosen = context.window_manager.keyconfigs.user
    keymap = chosen.keymaps.get(KEYMAP) if chosen is not None else None
    if keymap is None or context.region is None:  # whose width Blender asks for
        return
    ours = {operator for operator, _ in SHORTCUTS}
    for item in keymap.keymap_items:
        if item.idname in ours:
            rna_keymap_ui.draw_kmi([], chosen, keymap, item, layout, 0)
