"""Random afternoons: whatever artist and backend do in whatever order, nothing fails, nothing is lost, and nothing of the
artist's own is changed.

``DREAMCRAFT3D_ROUNDS`` says how many (200), ``DREAMCRAFT3D_SEED`` which is the first (0). A failure names the shortest list
of acts found that fails the same way.
"""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import Any

import bpy
import pytest
from acts import NAMES, OFTEN, RARELY, Acts
from belongings import fingerprint
from growing import Part
from stage_backend import Stage

ROUNDS = int(os.environ.get("DREAMCRAFT3D_ROUNDS", "200"))
FIRST = int(os.environ.get("DREAMCRAFT3D_SEED", "0"))
Step = tuple[str, int]
"""An act, and the dice it is given."""


class Errors(logging.Handler):
    """Log records that tell of an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(logging.Formatter().format(record))


class Afternoon:
    """One round."""

    def __init__(self, stage: Stage, part: Part, folder: Path, addon: str, capture: Any) -> None:
        self.stage, self.part, self.capture = stage, part, capture
        stage.backend.jobs.clear()
        stage.settle()
        self.acts = Acts(stage, folder, addon)
        self.errors = Errors()

    def run(self, steps: list[Step]) -> None:
        """Raises AssertionError where something is wrong."""
        logging.getLogger().addHandler(self.errors)
        try:
            for name, dice in steps:
                self.acts.dice.seed(dice)
                getattr(self.acts, name)()
                if dice % 3:
                    self.look_on()
            self.end()
        finally:
            logging.getLogger().removeHandler(self.errors)

    def look_on(self) -> None:
        """The timer is called: what is the artist's stays as it is, byte for byte."""
        own = belongings()
        places = {o.session_uid: (o.name, tuple(map(tuple, o.matrix_basis))) for o in bpy.data.objects}
        before = fingerprint(own)
        self.stage.settle()
        assert fingerprint(own) == before, "the artist's own was changed"
        for made in bpy.data.objects:
            there = places.get(made.session_uid)
            assert there in (None, (made.name, tuple(map(tuple, made.matrix_basis)))), f"{made.name} was moved"
        said = self.capture.readouterr().err
        assert "Traceback" not in said, said
        assert not self.errors.said, self.errors.said

    def end(self) -> None:
        """All jobs are done in the end, and every result is in the scene, or can be brought there."""
        self.acts.leave_all_modes()
        self.look_on()
        target, backend = self.part("scene.target"), self.stage.backend
        for job, kept in list(backend.jobs.items()):
            if kept.told.state != "done":
                backend.become(job, "running")
                backend.done(job)
        self.look_on()
        for job in backend.jobs:
            made = target.find(job)
            if made is None:
                assert bpy.ops.dreamcraft3d.attach(job=job) == {"FINISHED"}
                self.look_on()
                made = target.find(job)
            assert made is not None, "it cannot be placed"
            assert not target.growing(made) or not target.writable(made), f"{made.name} still grows"


def belongings() -> list[Any]:
    """All that no job may change: whatever has no mark of a job that goes on."""
    growing = {o.data for o in bpy.data.objects if o.type == "MESH" and o.data.get("dreamcraft3d_growing")}
    objects = [
        o for o in bpy.data.objects if o.type == "MESH" and o.data not in growing and "dreamcraft3d_job" not in o
    ]
    meshes = [m for m in bpy.data.meshes if m not in growing]
    painted = [mesh.get("dreamcraft3d_picture") for mesh in growing]
    materials = [m for m in bpy.data.materials if "dreamcraft3d" not in m]
    images = [i for i in bpy.data.images if i not in painted]
    return [*objects, *meshes, *materials, *images]


def some_steps(dice: random.Random) -> list[Step]:
    rare = [name for name in NAMES if name not in RARELY]
    names = [*rare * 3, *OFTEN * 6, *RARELY]
    drawn = ["generate", *dice.choices(names, k=dice.randint(8, 24))]
    return [(name, dice.randrange(2**31)) for name in drawn]


def test_whatever_happens_in_whatever_order_nothing_fails_or_is_lost_or_changed(
    stage: Stage, part: Part, tmp_path: Path, installed: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def failure(steps: list[Step]) -> str:
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        capfd.readouterr()
        try:
            Afternoon(stage, part, folder, installed, capfd).run(steps)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    for seed in range(FIRST, FIRST + ROUNDS):
        (tmp_path / "seed").write_text(str(seed))  # for a crash
        steps = some_steps(random.Random(seed))
        why = failure(steps)
        if why:
            for _ in range(3):  # leave out what is not needed
                for step in list(steps):
                    fewer = [one for one in steps if one is not step]
                    if failure(fewer)[:30] == why[:30]:
                        steps = fewer
            pytest.fail(f"seed {seed}: {why}\n{steps}")
