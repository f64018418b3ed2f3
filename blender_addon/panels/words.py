# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in a panel: wrapped to its width, and faults with the button that mends them."""

from __future__ import annotations

import textwrap

import bpy

from dreamcraft3d_protocol.messages import Fault

CHARACTER_PIXELS = 6.2
"""Of Blender's interface font at scale 1, on average; a line must not be cut."""
MARGIN_PIXELS = 56
ICON_PIXELS = 36


class SidebarPanel:
    """Where all panels of the add-on are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DreamCraft3D"


def disk_size(count: float) -> str:
    """Bytes as a word for the artist."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def draw_fact(layout: bpy.types.UILayout, name: str, value: str, button: tuple[str, str] | None = None) -> None:
    """A value that is not to be changed, in line with properties that are split; perhaps with an operator and its icon."""
    split = layout.split(factor=0.4)
    left = split.row()
    left.alignment = "RIGHT"
    left.label(text=name)
    right = split.row(align=True)
    right.label(text=value, translate=False)
    if button is not None:
        right.operator(button[0], text="", icon=button[1])


def draw_sentence(
    context: bpy.types.Context, layout: bpy.types.UILayout, text: str, icon: str = "NONE", width: float | None = None
) -> None:
    """Labels, one under the other, that hold a whole sentence.

    Args:
        width: of the layout in pixels at scale 1; by default that of the region.
    """
    region = context.region
    scale = context.preferences.system.ui_scale or 1.0  # 0 without a window
    pixels = (width or (region.width if region is not None else 300) / scale) - MARGIN_PIXELS
    if icon != "NONE":
        pixels -= ICON_PIXELS
    lines = textwrap.wrap(text, max(int(pixels / CHARACTER_PIXELS), 18))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        blank = "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=icon if number == 0 else blank, translate=False)


def draw_fault(context: bpy.types.Context, layout: bpy.types.UILayout, fault: Fault) -> None:
    """What is wrong, and what to do about it."""
    box = layout.box()
    draw_sentence(context, box, fault.sentence, "ERROR")
    if fault.hint:
        draw_sentence(context, box, fault.hint, "BLANK1")
