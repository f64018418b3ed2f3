# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing the scene up to date with the shapes that are held, as far as the artist's mode allows it now."""

from __future__ import annotations

import time

import bpy

from ..core.previews import Shape
from ..core.studio import Studio
from . import copies, image, material, mesh, painting, target, versions


def update(studio: Studio, budget_seconds: float, previews: bool = True) -> int:
    """Write what is stale; how many objects were written. At least one is, the rest within the budget.

    Args:
        previews: write these, too, and not only results.
    """
    deadline = time.monotonic() + budget_seconds
    written = 0
    for job, shape in studio.previews.stale().items():
        if not (previews or shape.final):
            continue
        copies.part(job)
        made = target.find(job)
        if made is None:
            continue
        if not target.growing(made):
            studio.shown(job)
            continue
        if not target.writable(made):
            continue
        if target.remade(made, studio.written) and not painting.uv_of(made.data):
            target.let_go(made)
            continue
        _write(made, shape, studio.written)
        if shape.final:
            target.finish(made)
            if job not in studio.remembered:
                studio.remembered.add(job)
                _remember(f"DreamCraft3D: {made.name}")
        studio.shown(job)
        written += 1
        if time.monotonic() > deadline:
            break
    studio.rejected[:] = [job for job in studio.rejected if not _given_up(job)]
    return written


def before_saving() -> None:
    """Copies are told from their originals while it is known which is which; what is being painted goes into the file."""
    for job in target.growing_jobs():
        copies.part(job)
        picture = target.find(job).data.get(material.PICTURE)
        if picture is not None and picture.is_dirty:
            picture.pack()


def _given_up(job: str) -> bool:
    """Take away what a job that will never be has made room for, if nothing has come into it; False if not now."""
    made = target.find(job)
    if made is None or not target.growing(made) or target.showing(made):
        return True
    if not target.writable(made):
        return False
    if versions.place(made)[1] > 1:
        versions.drop(made)
    else:
        target.remove(made)
    return True


def _write(made: bpy.types.Object, shape: Shape, written: set[tuple[int, ...]]) -> None:
    if painting.uv_of(made.data):
        painting.write(made, shape)
        return
    if made.data.shape_keys is not None:  # of a shape that is no more
        made.shape_key_clear()
    grown = made.data
    if mesh.write(grown, shape):
        written.add(target.note(grown))
    anew = not material.prepared(grown)
    if anew:
        material.prepare(grown, made.name)
        _remember(f"DreamCraft3D: {made.name}")  # what a timer makes is to be in an undo step at once
    if shape.png is not None:
        image.write_png(grown[material.PICTURE], shape.png)
        material.show_result(grown)
    elif shape.texture is not None:
        if anew or shape.stale & {"texture", "faces"}:
            image.write_pixels(grown[material.PICTURE], shape.texture)
        material.show(grown, material.PAINTED)
    else:
        material.show(grown, material.COLOURED)
    if not target.showing(made):
        material.cover(grown)
        target.shown(made)


def _remember(message: str) -> None:
    """An undo step of its own; a timer has no window, and the step wants one where there is any.

    In another mode it would be a step of that mode, which does not hold the object.
    """
    if bpy.context.mode != "OBJECT":
        return
    windows = bpy.context.window_manager.windows
    if windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=message)
    else:
        bpy.ops.ed.undo_push(message=message)
