# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in a panel: wrapped to its width, and faults with the button that mends them."""

from __future__ import annotations

import unicodedata

import bpy

from dreamcraft3d_protocol.messages import Fault

from ..translations import said

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
    right.label(text=said(value), translate=False)
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
    lines = wrapped(said(text), max(int(pixels / CHARACTER_PIXELS), 18))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        blank = "BLANK1" if icon != "NONE" else "NONE"
        column.label(text=line, icon=icon if number == 0 else blank, translate=False)


def sentence_of(words: str) -> str:
    """The same, with a capital letter."""
    return words[:1].upper() + words[1:]


def wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words, at most as wide as ``width`` Latin letters; Korean and Chinese ones are twice as wide."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def width_of(text: str) -> int:
    """In Latin letters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def draw_fault(context: bpy.types.Context, layout: bpy.types.UILayout, fault: Fault) -> None:
    """What is wrong, and what to do about it."""
    box = layout.box()
    draw_sentence(context, box, fault.sentence, "ERROR")
    if fault.hint:
        draw_sentence(context, box, fault.hint, "BLANK1")
