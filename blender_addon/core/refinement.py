# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done to an object that is there: painted anew, sculpted anew, or gone on with from a stage of its job."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from dreamcraft3d_protocol.messages import FirstStage, JobState, Submit


class RefineError(ValueError):
    """It cannot be done with this object; ``str()`` is a sentence that says why, and what to do."""


@dataclass(frozen=True)
class Refinement:
    """An order about an object that is there.

    Attributes:
        prompt: words; empty only where a job is gone on from, which has some.
        preset: by name.
        seed: the same one gives the same.
        name: of the object, for the artist.
        first: the first stage.
        base, base_stage: the job, and its stage, that is gone on from; or None where the object itself is sent.
        negative: words for what it shall not be, or empty.
        job: the id of the job that it becomes.
    """

    prompt: str
    preset: str
    seed: int
    name: str
    first: FirstStage
    base: str | None = None
    base_stage: FirstStage | None = None
    negative: str = ""
    job: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def submission(self) -> Submit:
        """The message that orders it."""
        return Submit(
            self.job, self.prompt, self.preset, self.seed, self.first, name=self.name, base=self.base,
            base_stage=self.base_stage, negative=self.negative,
        )  # fmt: skip


def missing_base(known: JobState | None, stage: str) -> str:
    """Why a job cannot be gone on from at a stage, and what to do instead; empty if it can.

    Args:
        known: the job, or None if the backend has none.
        stage: a key of ``jobs.STAGES``.
    """
    if known is None:
        return "The backend keeps no job of this object. Retexture it, or sculpt it again."
    if stage in known.stages:
        return ""
    if known.stages:
        return "Its job has not finished this stage. Choose an earlier one."
    return "Its job has finished no stage yet. Wait, or resume it."
