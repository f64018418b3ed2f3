"""What a job was asked for, with everything resolved, so that it can be run again to the same result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from dreamcraft3d.pipeline.config import STAGES, Preset, StageName


class Order(BaseModel):
    """A job's request.

    Attributes:
        prompt: words, or empty.
        negative: words for what it shall not be, or empty.
        preset: its values.
        first, until: the first and last stage after the reference.
        picture, mesh: what was given, as names of artefacts, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    preset: Preset
    seed: int
    first: StageName
    until: StageName
    picture: str | None
    mesh: str | None
    negative: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that a client sees, in order."""
        if self.until == "reference":
            return ("reference",)
        return ("reference", *STAGES[STAGES.index(self.first) : STAGES.index(self.until) + 1], "export")
