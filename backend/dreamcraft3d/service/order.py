"""What a job was asked for, with everything resolved, so that it can be run again to the same result."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from dreamcraft3d.pipeline.config import STAGES, Preset, StageName


@functools.lru_cache(maxsize=64)
def _shared(preset: Preset) -> Preset:
    """The same object for all presets that are equal: a thousand jobs mostly have one."""
    return preset


class Start(BaseModel):
    """What a job goes on from, as names of artefacts: the job that made it may be deleted.

    Attributes:
        stage: whose result it is.
        result: that.
        reference: the reference of the job that made it, or None where a new one is to be made.
        base: that job's id; None where an earlier version did not note it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: StageName
    result: str
    reference: str | None
    base: str | None = None


class Order(BaseModel):
    """A job's request.

    Attributes:
        prompt: words, or empty.
        negative: words for what it shall not be, or empty.
        preset: its values.
        first, until: the first and last stage after the reference.
        picture, mesh, texture, mask: what was given, as names of artefacts, or None.
        start: what the job goes on from, or None. ``mesh``, ``texture`` and ``mask`` are then those of the job before.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    preset: Annotated[Preset, AfterValidator(_shared)]
    seed: int
    first: StageName
    until: StageName
    picture: str | None
    mesh: str | None
    negative: str = ""
    texture: str | None = None
    mask: str | None = None
    start: Start | None = None

    @property
    def artefacts(self) -> set[str]:
        """The names of all that it holds."""
        given = {self.picture, self.mesh, self.texture, self.mask}
        started = set() if self.start is None else {self.start.result, self.start.reference}
        return {name for name in given | started if name is not None}

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that a client sees, in order."""
        if self.until == "reference":
            return ("reference",)
        return ("reference", *STAGES[STAGES.index(self.first) : STAGES.index(self.until) + 1], "export")


def order_file(job: Path) -> Path:
    """Where a job's folder holds its order."""
    return job / "order.json"
