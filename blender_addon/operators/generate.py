# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate: order objects, and make the places where they grow."""

from dataclasses import replace

import bpy

from dreamcraft3d_protocol.errors import ProtocolError

from .. import pump
from ..core.placement import row
from ..core.studio import Wish
from ..props.form import MAX_SEED
from ..scene import place, reference, target
from ..translations import said


class OrderOperator:
    """An operator that orders something by the form."""

    @classmethod
    def poll(cls, context):
        form = context.scene.dreamcraft3d
        if not form.prompt.strip() and not reference.given(form):
            cls.poll_message_set(said("Type what to make, or choose a picture"))
            return False
        session = pump.studio().session
        if session.status.phase in ("missing", "installing"):
            cls.poll_message_set(said("Install the backend first"))
            return False
        if session.status.phase == "off" and not session.settings.autostart:
            cls.poll_message_set(said("Start the backend first"))
            return False
        return True


class DREAMCRAFT3D_OT_generate(OrderOperator, bpy.types.Operator):
    """Make an object from the prompt or the picture; it grows where Place says"""

    bl_idname = "dreamcraft3d.generate"
    bl_label = "Generate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender wants a set)

    def execute(self, context):
        form, studio = context.scene.dreamcraft3d, pump.studio()
        wish = wish_of(form)
        seeds = [(form.seed + number) % (MAX_SEED + 1) for number in range(form.variations)]
        try:
            arrays = studio.reference(basis_of(form))
            if arrays is None:
                arrays = reference.read(context, form)
            jobs = [studio.generate(replace(wish, seed=seed), arrays) for seed in seeds]
        except (OSError, ProtocolError) as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        studio.discard_draft()
        name = wish.name if wish.prompt else reference.name(form)
        places = row(tuple(place.chosen(context, form)), len(jobs), form.size)
        made = [target.make(context, job, name, form.size, where) for job, where in zip(jobs, places, strict=True)]
        target.select(context, made)
        return {"FINISHED"}


def wish_of(form):
    """What the form asks for."""
    return Wish(form.prompt.strip(), form.preset, form.seed, form.negative.strip())


def basis_of(form):
    """All that a picture made by the form depends on."""
    return wish_of(form), reference.origin(form)


CLASSES = (DREAMCRAFT3D_OT_generate,)
