# SPDX-License-Identifier: GPL-3.0-or-later
"""Refine: retexture, repaint, sculpt again or go on with the active object, as a new version of it."""

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from dreamcraft3d_protocol.errors import ProtocolError

from .. import pump
from ..core.refinement import RefineError, Refinement, missing_base
from ..props.form import MAX_SEED
from ..props.refine import PARTS, STAGES
from ..scene import part, refine, target, versions
from ..translations import said
from .finished import LINKED

HIDDEN = {"HIDDEN", "SKIP_SAVE"}


class RefineOperator:
    """An operator that orders a new version of the active object.

    What is not set is taken from the job that made the object, or from the form.
    """

    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender wants a set)
    first = "texture"

    prompt: StringProperty(name="Prompt", description="What it shall become; empty for its job's words", options=HIDDEN)
    preset: StringProperty(name="Quality", description="A preset; empty for the form's", options=HIDDEN)
    seed: IntProperty(name="Seed", description="Below 0: the form's", default=-1, min=-1, max=MAX_SEED, options=HIDDEN)

    @classmethod
    def poll(cls, context):
        reason = unfit(context.object)
        status = pump.studio().session.status
        if not reason and status.phase in ("missing", "installing"):
            reason = "Install the backend first"
        elif not reason and status.phase == "off" and not pump.studio().session.settings.autostart:
            reason = "Start the backend first"
        if reason:
            cls.poll_message_set(said(reason))
        return not reason

    def execute(self, context):
        made = context.object
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        try:
            refinement = self.refinement(context, made)
            with versions.added(made) as fresh:
                target.begin(made, refinement.job)
                pump.studio().refine(refinement, self.prepare(context, made, fresh))
        except (RefineError, ProtocolError) as error:
            self.report({"ERROR"}, said(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}

    def refinement(self, context, made):
        """What is ordered; raises a RefineError where there are no words."""
        form, known = context.scene.dreamcraft3d, pump.studio().jobs.by_id.get(target.job_of(made))
        prompt = self.prompt.strip() or (known.prompt if known is not None else "")
        if not prompt:
            raise RefineError("Type what the object shall become.")
        seed = self.seed if self.seed >= 0 else form.seed
        preset, avoided = self.preset or form.preset, form.negative.strip()
        return Refinement(prompt, preset, seed, made.name[:48], self.first, negative=avoided)


class DREAMCRAFT3D_OT_retexture(RefineOperator, bpy.types.Operator):
    """Paint all of the active object anew by the prompt; its shape stays as it is"""

    bl_idname = "dreamcraft3d.retexture"
    bl_label = "Retexture"

    uv: StringProperty(name="UV Map", description="To paint into; empty for a new one", options=HIDDEN)

    def prepare(self, context, made, fresh):
        return refine.retexture(context, made, fresh, self.uv)


class DREAMCRAFT3D_OT_repaint(RefineOperator, bpy.types.Operator):
    """Paint a part of the active object anew by the prompt; the rest stays as it is"""

    bl_idname = "dreamcraft3d.repaint"
    bl_label = "Repaint a Part"

    part: EnumProperty(name="Part", items=PARTS, default="SELECTION", options=HIDDEN)
    source: StringProperty(
        name="Source", description="The name of the vertex group, color attribute or image", options=HIDDEN
    )

    def prepare(self, context, made, fresh):
        if self.part != "IMAGE":
            weights = {
                "SELECTION": lambda: part.selected(fresh),
                "GROUP": lambda: part.in_group(made, self.source),
                "ATTRIBUTE": lambda: part.in_attribute(fresh, self.source),
            }[self.part]()
            return refine.repaint(context, made, fresh, weights)
        mask = bpy.data.images.get(self.source)
        if mask is None:
            raise RefineError("Choose an image in which white is what shall be repainted.")
        return refine.repaint(context, made, fresh, mask)


class DREAMCRAFT3D_OT_resculpt(RefineOperator, bpy.types.Operator):
    """Make another shape from the active object by the prompt, in its place, and paint that"""

    bl_idname = "dreamcraft3d.resculpt"
    bl_label = "Re-sculpt"
    first = "geometry"

    def prepare(self, context, made, fresh):
        return refine.resculpt(made, fresh)


class DREAMCRAFT3D_OT_go_on(RefineOperator, bpy.types.Operator):
    """Do more of what made the active object, by the same words or others"""

    bl_idname = "dreamcraft3d.go_on"
    bl_label = "Go On"

    stage: EnumProperty(name="From", items=STAGES, default="texture", options=HIDDEN)

    def refinement(self, context, made):
        form, job = context.scene.dreamcraft3d, target.job_of(made)
        wrong = missing_base(pump.studio().jobs.by_id.get(job), self.stage)
        if wrong:
            raise RefineError(wrong)
        seed = self.seed if self.seed >= 0 else form.seed
        preset, words = self.preset or form.preset, self.prompt.strip()
        return Refinement(words, preset, seed, made.name[:48], self.stage, job, self.stage, form.negative.strip())

    def prepare(self, context, made, fresh):
        return refine.go_on(made, fresh)


def unfit(made):
    """Why an object cannot be refined, and what to do; empty if it can."""
    if made is None:
        return "Select an object"
    if made.type != "MESH":
        return "Convert the object to a mesh first: Object, Convert"
    if made.library is not None or made.override_library is not None:
        return LINKED
    jobs, job = pump.studio().jobs, target.job_of(made)
    at_work = job in jobs.ordered or (jobs.may_cancel(job) and not jobs.may_resume(job))
    if target.growing(made) and at_work:
        return "The object is still being made. Wait, or go back to the previous version"
    return ""


CLASSES = (DREAMCRAFT3D_OT_retexture, DREAMCRAFT3D_OT_repaint, DREAMCRAFT3D_OT_resculpt, DREAMCRAFT3D_OT_go_on)
