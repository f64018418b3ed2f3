"""Going on from what another job has made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES, StageName
from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.order import Order, Start
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.messages import Submit


@dataclass(frozen=True)
class Base:
    """A job that another goes on from.

    Attributes:
        id: its own.
        order: what it was asked for.
        run: the folder of its run.
    """

    id: str
    order: Order
    run: Path

    def result(self, stage: str) -> Path:
        return self.run / f"{stage}.safetensors"

    @property
    def prompt(self) -> str:
        """The words of its reference: those asked for, or the picture's caption; empty while it has none."""
        file = self.run / "reference.json"
        return str(json.loads(file.read_text(encoding="utf-8"))["prompt"]) if file.is_file() else ""


def made_by(run: Path) -> tuple[StageName, ...]:
    """The stages whose results a run has, the reference aside."""
    return tuple(stage for stage in STAGES[1:] if (run / f"{stage}.safetensors").is_file())


def check_base(asked: Submit, arrays: Arrays, base: Base | None) -> None:
    """Whether a job can go on as it is asked to.

    Raises:
        UserError: it cannot.
    """
    if asked.base is None or asked.base_stage is None:
        raise UserError("What to go on from is a job and one of its stages.", "Name both, or neither.")
    if base is None:
        raise UserError("The backend has no such job to go on from.", "It may have been deleted, or be another's.")
    made = made_by(base.run)
    if asked.base_stage not in made:
        hint = f"Go on from its {' or '.join(made)} stage." if made else "Let it run until a stage is done."
        raise UserError(f"The job has no result of its {asked.base_stage} stage.", hint)
    if "vertices" in arrays:
        raise UserError("A job that goes on from another starts from its object.", "Leave the mesh out.")
    if STAGES.index(asked.first) < STAGES.index(asked.base_stage):
        sentence = f"The stage {asked.first} comes before {asked.base_stage}, whose result it would start from."
        raise UserError(sentence, f"Begin with {asked.base_stage} or a later one.")


def start_from(base: Base, stage: StageName, anew: bool, artefacts: Artefacts) -> Start:
    """Keep a stage's result, and the reference unless one is made ``anew``. Raises OSError if the disk is in the way."""
    reference = None if anew else artefacts.keep(base.result("reference").read_bytes())
    return Start(stage=stage, result=artefacts.keep(base.result(stage).read_bytes()), reference=reference, base=base.id)
