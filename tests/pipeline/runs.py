"""Runs for tests: started or gone on with as a new process would, and watched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from torch import Tensor

from dreamcraft3d.pipeline.config import Preset, StageName
from dreamcraft3d.pipeline.driver import Driver
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.shape.mesh import Mesh

STEPS, HALF = 20, 10  # of each stage of ``small_paper``, and of its NeRF
Finished = tuple[RunFolder, dict[str, Any]]


class Watcher:
    """Writes down what it is told, and stops the run, or ends stages early, where it is asked to."""

    def __init__(
        self,
        stop_after: tuple[str, int] | None = None,
        shows: bool = False,
        next_after: dict[str, int] | None = None,
    ) -> None:
        self.stop_after, self.shows, self.next_after = stop_after, shows, next_after or {}
        self.surfaces: list[tuple[str, Mesh | None]] = []
        self.sentences: list[str] = []
        self.steps: list[tuple[str, int]] = []
        self.begun: list[tuple[str, int, int]] = []
        self.ends: list[str] = []
        self.samples: list[tuple[str, int, Tensor]] = []

    def said(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def began(self, stage: str, steps: int, done: int) -> None:
        self.begun.append((stage, steps, done))

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        assert all(np.isfinite(value) for value in losses.values()), losses
        self.steps.append((stage, done))

    def sampled(self, stage: str, done: int, pictures: Tensor) -> None:
        self.samples.append((stage, done, pictures))

    def ended(self, stage: str, seconds: float) -> None:
        self.ends.append(stage)

    def pictured(self, pictures: Tensor) -> None:
        self.picture = pictures[0]

    def shaped(self, stage: str, surface: Callable[[], Mesh | None]) -> None:
        if self.shows:
            self.surfaces.append((stage, surface()))

    def wants_stop(self) -> bool:
        return self.stop_after is not None and self.steps[-1:] == [self.stop_after]

    def wants_next(self, stage: str) -> bool:
        return stage in self.next_after and self.steps[-1][1] >= self.next_after[stage]


class Losses(Watcher):
    """Keeps the losses of every step."""

    def __init__(self, stop_after: tuple[str, int] | None = None) -> None:
        super().__init__(stop_after)
        self.losses: dict[tuple[str, int], dict[str, float]] = {}

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        super().stepped(stage, done, losses)
        self.losses[stage, done] = losses


def prepare(output: Path, preset: Preset, **asked: Any) -> RunFolder:
    """A run's folder, ready to be driven."""
    roles = ("image", "mesh", "uv_texture", "uv_mask")
    folder, copies = RunFolder.create(output, {role: asked.pop(role, None) for role in roles})
    asked = {"prompt": "", "seed": 0, "first": "coarse", "until": "texture"} | asked
    folder.write_request(Request(output=output.name, preset=preset, version="0", **copies, **asked))
    return folder


def go_on(output: Path, preset: Preset, base: RunFolder, stage: StageName, **asked: Any) -> RunFolder:
    """The folder of a run that goes on from another's stage, ready to be driven."""
    prompt, anew = str(base.read_json("reference.json")["prompt"]), "prompt" in asked
    folder = prepare(output, preset, **{"prompt": prompt, "start": stage, "anew": anew} | asked)
    folder.start_from(base.result(stage), None if anew else base.result("reference"), prompt)
    return folder


def drive(folder: RunFolder, watcher: Watcher | None = None) -> dict[str, Any] | None:
    """Start or go on as a new process would."""
    reopened, request = RunFolder.open(folder.path)
    return Driver(request, reopened, watcher or Watcher()).run()


def bounds(path: Path) -> np.ndarray:
    return trimesh.load_scene(path).bounds
