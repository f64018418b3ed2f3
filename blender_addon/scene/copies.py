# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that the artist makes of an object while it grows: they stay as they are, the original grows on."""

from __future__ import annotations

from . import material, target


def part(job: str) -> None:
    """Let go of all copies of a job's object that have a mesh of their own.

    Blender copies custom properties with an object, so a copy looks like the original until it is told from it: the
    original is the older one. A copy shows its colours, as the picture goes on being painted. One that shares the
    original's mesh goes on sharing it.
    """
    original, *others = target.all_of(job) or [None]
    for copy in [one for one in others if target.growing(one) and one.data != original.data]:
        if material.prepared(copy.data):
            material.show(copy.data, material.COLOURED)
        target.let_go(copy)
