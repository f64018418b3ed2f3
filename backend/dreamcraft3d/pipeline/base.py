"""An earlier run to go on from, named on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES, StageName
from dreamcraft3d.pipeline.run_folder import Request, RunFolder


@dataclass(frozen=True)
class Base:
    """A run, and the stage of it whose result is the start."""

    folder: RunFolder
    request: Request
    stage: StageName

    @staticmethod
    def of(run: Path, stage: str) -> Base:
        """A run by its folder or its GLB, and its stage by name; without one, its last.

        Raises:
            UserError: there is no such run, or it has no such result.
        """
        folder, request = RunFolder.open(run)
        made = [name for name in STAGES[1:] if folder.result(name).is_file()]
        if not made:
            raise UserError(f"The run {folder.path} has no stage's result yet.", "Resume it until it has.")
        if stage and stage not in made:
            raise UserError(f'The run {folder.path} has no result of a stage "{stage}".', f"It has: {', '.join(made)}.")
        return Base(folder, request, next((name for name in made if name == stage), made[-1]))

    @property
    def prompt(self) -> str:
        """The words of its reference."""
        return str(self.folder.read_json("reference.json").get("prompt", self.request.prompt))

    @property
    def given(self) -> dict[str, Path | None]:
        """The mesh that it was given, by its role in a run."""
        names = {role: getattr(self.request, role) for role in ("mesh", "uv_texture", "uv_mask")}
        return {role: None if name is None else self.folder.path / name for role, name in names.items()}

    def first(self, name: str) -> StageName:
        """The first stage to run, by name; without one, that after the start, or texture again.

        Raises:
            UserError: there is none, or it comes before the start.
        """
        offered = STAGES[STAGES.index(self.stage) :]
        if not name:
            return offered[min(1, len(offered) - 1)]
        found = next((stage for stage in offered if stage == name), None)
        if found is None:
            raise UserError(f'From {self.stage} no stage "{name}" can go on.', f"These can: {', '.join(offered)}.")
        return found
