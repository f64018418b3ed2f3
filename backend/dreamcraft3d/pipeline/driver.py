"""Runs the stages in order: one loop for all of them, with checkpoints, so that a run can stop and go on anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from dreamcraft3d.export.formats import settle
from dreamcraft3d.pipeline.config import STAGES, StageName
from dreamcraft3d.pipeline.estimators import run_estimators
from dreamcraft3d.pipeline.finish import export_run
from dreamcraft3d.pipeline.given import Given
from dreamcraft3d.pipeline.ladder import Ladder, Planner
from dreamcraft3d.pipeline.reference import (
    Reference,
    make_reference,
    picture_from_file,
    picture_from_words,
    reference_from_mesh,
)
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.pipeline.run_priors import run_priors
from dreamcraft3d.pipeline.stage import Context, Stage
from dreamcraft3d.pipeline.start import Start
from dreamcraft3d.priors.base import Priors
from dreamcraft3d.priors.memory import free_memory, ran_out_of_memory
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.shape.mesh import Mesh

CHECKPOINT_SECONDS = 20.0
SHEET_VIEWS = 8


class Observer(Protocol):
    """Whoever watches a run."""

    def said(self, sentence: str) -> None:
        """Something worth telling: the words used, the picture's caption."""
        ...

    def began(self, stage: str, steps: int, done: int) -> None:
        """A stage begins, or goes on after ``done`` steps."""
        ...

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        """``done`` steps of a stage are taken; of the last, its losses and other numbers by name."""
        ...

    def sampled(self, stage: str, done: int, pictures: Tensor) -> None:
        """The step after which ``done`` are taken drew these pictures (N, S, S, 3), sRGB in [0, 1], to learn from."""
        ...

    def ended(self, stage: str, seconds: float) -> None:
        """A stage is finished."""
        ...

    def pictured(self, pictures: Tensor) -> None:
        """The reference (3, S, S, 3) as :func:`reference_pictures` shows it; told once a run, and again when it goes on."""
        ...

    def shaped(self, stage: str, surface: Callable[[], Mesh | None]) -> None:
        """Told after every step: ``surface()`` is the object now, where the artist has it, or None if there is none.

        Calling it takes time: whoever wants no preview now, does not.
        """
        ...

    def wants_stop(self) -> bool:
        """Asked after every step: whether to leave a checkpoint and stop."""
        ...

    def wants_next(self, stage: str) -> bool:
        """Asked after every step: whether to end the stage as if its steps were done; it does once it has a surface."""
        ...


class Stopped(Exception):
    """The run was stopped on request; its checkpoint is written."""


class Driver:
    """One run, from what its folder holds to the exported object.

    Args:
        request: what was asked for.
        folder: where results and checkpoints are.
        observer: told of progress.
        planner: asked once by which means the run is to begin on a graphics card; without one it begins with the fewest.
    """

    def __init__(self, request: Request, folder: RunFolder, observer: Observer, planner: Planner | None = None) -> None:
        self.request = request
        self.folder = folder
        self.observer = observer
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.ladder = Ladder(folder, request.preset, self.device)
        self.planner = planner
        self.stages = STAGES[STAGES.index(request.first) : STAGES.index(request.until) + 1]
        self.stage: StageName = "reference"
        self.seconds: dict[str, dict[str, float]] = folder.read_json("progress.json")

    def run(self) -> dict[str, object] | None:
        """Do what is still to be done; where memory runs out, again by the next means to need less of it.

        Returns:
            the metrics written to ``metrics.json``, or None if the run ends with the reference picture.

        Raises:
            UserError: something given is unusable, or memory does not suffice; the sentence says what.
            Stopped: the observer wanted it.
        """
        if self.planner is not None:
            planned = self.ladder.begin(self.planner, ("reference", *self.stages))
            if planned:
                self.observer.said(planned)
        while True:
            try:
                return self._run()
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                self.observer.said(self.ladder.climb(self.stage, error))
            free_memory()  # after the error has gone, which holds on to all that was there when it was raised

    def _run(self) -> dict[str, object] | None:
        means = self.ladder.means
        priors = run_priors(self.request.preset.priors, self.device, means, self.request.negative)
        start = Start(self.request, self.folder, self.device)
        reference = self._reference(priors, start)
        self.observer.pictured(reference_pictures(reference))
        if self.request.until == "reference":
            return None
        if self.observer.wants_stop():
            raise Stopped
        context = Context(self.request.preset, priors, reference, self.device, self.request.seed, means)
        for name in self.stages:
            self.stage = name
            if not self.folder.result(name).is_file():
                self._run_stage(start.stage(name, context), start.given)
        return export_run(self.request, self.folder, reference, start.given, self.device)

    def _reference(self, priors: Priors, start: Start) -> Reference:
        path, progress = self.folder.result("reference"), self.folder.read_json("reference.json")
        if path.is_file() and progress:
            kept = Reference.load(path, str(progress["prompt"]), self.device)
            if self.folder.load_views("reference") is None:  # it is an earlier run's
                self.folder.save_views("reference", reference_pictures(kept))
            return kept
        self.observer.began("reference", 1, 0)
        started = time.monotonic()
        generator = torch.Generator().manual_seed(self.request.seed)
        settings = self.request.preset.reference
        prompt = self.request.prompt
        if prompt:
            prompt = priors.check_prompt(prompt)
            self.observer.said(f'Words used: "{prompt}".')
        estimators = run_estimators(self.request.preset.priors, self.device, self.ladder.means.half)
        if self.request.image is not None:
            picture = picture_from_file(self.folder.path / self.request.image, priors.picture_size, estimators)
            if not prompt:
                prompt = estimators.describe(picture)
                self.observer.said(f'No prompt was given; the picture reads as "{prompt}".')
            reference = make_reference(prompt, picture, estimators, generator)
        elif (mesh := start.surface()) is not None:
            reference = reference_from_mesh(priors, prompt, mesh, settings, generator, estimators)
        else:
            picture = picture_from_words(priors, prompt, settings, generator, estimators)
            reference = replace(make_reference(prompt, picture, estimators, generator), surface=settings.surface)
        self.folder.save_views("reference", reference_pictures(reference))
        reference.save(path)
        self.folder.write_json("reference.json", {"prompt": prompt})
        self._tick("reference", 1, time.monotonic() - started)
        self.observer.ended("reference", self.seconds["reference"]["seconds"])
        return reference

    def _run_stage(self, stage: Stage, given: Given | None) -> None:
        saved = self.folder.load_checkpoint(stage.name, self.observer.said)
        done = 0
        if saved is not None:
            done, state = saved
            stage.restore(state)
        self.observer.began(stage.name, stage.steps, done)
        started = kept = time.monotonic()
        while done < stage.steps:
            losses = stage.step(done)
            done += 1
            self.observer.stepped(stage.name, done, losses)
            if stage.samples is not None:
                self.observer.sampled(stage.name, done, stage.samples)
            self.observer.shaped(stage.name, partial(_placed_surface, stage, given))
            stop = self.observer.wants_stop()
            ends = done < stage.steps and self.observer.wants_next(stage.name) and stage.surface() is not None
            if stop or ends or time.monotonic() - kept > CHECKPOINT_SECONDS:
                self.folder.save_checkpoint(stage.name, done, stage.state())
                kept = time.monotonic()
            if stop:
                self._tick(stage.name, done, time.monotonic() - started)
                raise Stopped
            if ends:
                self.observer.said(f"Ended after {done} of {stage.steps} steps, as was asked.")
                break
        self.folder.save_views(stage.name, self._pictures(stage))
        result = self.folder.result(stage.name)
        stage.finish(result.with_suffix(".tmp"))
        settle(result.with_suffix(".tmp"), result)
        self.folder.drop_checkpoints()
        self._tick(stage.name, done, time.monotonic() - started)
        self.observer.ended(stage.name, self.seconds[stage.name]["seconds"])

    def _pictures(self, stage: Stage) -> Tensor:
        cameras = Cameras.ring(SHEET_VIEWS, elevation=15).to(self.device)
        return torch.cat([stage.render(cameras[[i]], self.request.preset.export.sheet) for i in range(SHEET_VIEWS)])

    def _tick(self, stage: str, steps: int, seconds: float) -> None:
        before = self.seconds.get(stage, {"seconds": 0.0})["seconds"]
        self.seconds[stage] = {"seconds": round(before + seconds, 2), "steps": steps}
        self.folder.write_json("progress.json", self.seconds)


def _placed_surface(stage: Stage, given: Given | None) -> Mesh | None:
    surface = stage.surface()
    if surface is None or given is None:
        return surface
    return replace(surface, vertices=given.placed(surface.vertices))


def reference_pictures(reference: Reference) -> Tensor:
    """(3, S, S, 3): the picture, its depth (near is bright) and its normals, on white."""
    mask = reference.mask
    depth = ((1 - 0.8 * reference.depth) * mask + 1 - mask).expand_as(reference.rgb)
    normal = (reference.normal / 2 + 0.5) * mask + 1 - mask
    return torch.cat([reference.rgb, depth, normal])
