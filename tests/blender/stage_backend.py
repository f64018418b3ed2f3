"""A backend that keeps jobs as the service does, and moves them where a test wants them: real sockets, no models."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from growing import FACES, UV, VERTICES, Part, png
from launcher import wait_until
from scripted_backend import ScriptedBackend, job_state, picture_preview

from dreamcraft3d.service.gallery import Gallery
from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import (
    Attach,
    Cancel,
    Detach,
    Error,
    Fault,
    Forget,
    JobList,
    Jobs,
    JobState,
    Message,
    Preview,
    Result,
    Resume,
    Submit,
    Whole,
)


@dataclass
class Kept:
    """A job: its state, what was shown of it, and what it made."""

    told: JobState
    topology: str = ""
    vertices: Array = field(default_factory=lambda: VERTICES)
    faces: Array = field(default_factory=lambda: FACES)
    result: Received | None = None


class StageBackend(ScriptedBackend):
    """The jobs outlive it, if they are handed to the next one on the same data folder; previews do not."""

    def __init__(self, data: Path, jobs: dict[str, Kept] | None = None) -> None:
        super().__init__(data)
        self.jobs, self.gallery = jobs if jobs is not None else {}, Gallery()
        self.attached: set[tuple[bytes, str]] = set()
        self._seq = itertools.count(time.time_ns())  # it grows over restarts, as the service's does

    def hear(self, who: bytes, message: Message) -> None:
        """Answer."""
        super().hear(who, message)
        job = getattr(message, "job", "")
        if isinstance(message, Submit) and job not in self.jobs:
            self.jobs[job] = Kept(job_state(job, "queued"))
            self.say(self.jobs[job].told)
        if isinstance(message, Jobs):
            self.tell(who, JobList(tuple(one.told for one in self.jobs.values())))
            return
        if job not in self.jobs:
            self.tell(who, Error("user", "The backend has no such job.", "", "edit", job))
            return
        kept = self.jobs[job]
        if isinstance(message, Submit | Attach):
            self.attached.add((who, job))
            self.tell(who, kept.told, *self.gallery.whole(job), *([kept.result] if kept.result else []))
        elif isinstance(message, Detach):
            self.attached.discard((who, job))
        elif isinstance(message, Whole):
            self.tell(who, *self.gallery.whole(job))
        elif isinstance(message, Cancel | Resume):
            self.become(job, "cancelled" if isinstance(message, Cancel) else "running")
        elif isinstance(message, Forget):
            del self.jobs[job]
            self.say(JobList(tuple(one.told for one in self.jobs.values())))

    # --- what a test lets it do ---

    def become(self, job: str, state: str) -> None:
        error = Fault("bug", "It broke.", "", "resume") if state == "failed" else None
        self.jobs[job].told = job_state(job, state, error=error)  # type: ignore[arg-type]
        self.say(self.jobs[job].told)

    def picture(self, job: str) -> None:
        self._show(*picture_preview(job, self._next(), "reference", 9))

    def mesh(self, job: str, sides: int = 6) -> None:
        """A new shape: a fan with some sides."""
        kept = self.jobs[job]
        kept.topology = f"{sides} {self._next()}"
        around = np.linspace(0, 2 * np.pi, sides, endpoint=False, dtype=np.float32)
        kept.vertices = np.stack([np.cos(around), np.sin(around), around], axis=1)
        inner = np.arange(1, sides - 1, dtype=np.int32)
        kept.faces = np.stack([np.zeros_like(inner), inner, inner + 1], axis=1)
        arrays = {"vertices": kept.vertices, "faces": kept.faces, "colours": np.ones_like(kept.vertices)}
        self._show(Preview(job, self._next(), "coarse", "mesh", kept.topology, None), arrays)

    def positions(self, job: str, base: str = "") -> None:
        kept = self.jobs[job]
        kept.vertices = kept.vertices * np.float32(1.5)
        self._change(job, "positions", base, {"vertices": kept.vertices})

    def colours(self, job: str, base: str = "") -> None:
        kept = self.jobs[job]
        self._change(job, "colours", base, {"colours": np.full_like(kept.vertices, 0.25)})

    def texture(self, job: str, base: str = "") -> None:
        kept = self.jobs[job]
        corners = np.resize(UV, (3 * len(kept.faces), 2))
        picture = np.full((8, 8, 3), self._next() % 256, np.uint8)
        self._change(job, "texture", base, {"uv": corners, "texture": picture})

    def done(self, job: str) -> None:
        """It has made a square of two faces."""
        kept = self.jobs[job]
        made = {"vertices": VERTICES, "faces": FACES, "uv": UV, "texture": np.frombuffer(png(), np.uint8)}
        kept.result = Result(job, {}), made | {"glb": np.ones(8, np.uint8)}
        self.gallery.drop(job)
        self.become(job, "done")
        self._send(job, kept.result)

    def _change(self, job: str, form: str, base: str, arrays: dict[str, Array]) -> None:
        topology = base or self.jobs[job].topology
        self._show(Preview(job, self._next(), "texture", form, topology, topology), arrays)  # type: ignore[arg-type]

    def _show(self, preview: Preview, arrays: dict[str, Array]) -> None:
        self.gallery.put(preview, arrays)
        self._send(preview.job, (preview, arrays))

    def _send(self, job: str, letter: Received) -> None:
        for who in self.clients:
            if (who, job) in self.attached:
                self.tell(who, letter)

    def _next(self) -> int:
        return next(self._seq)


class Stage:
    """A Blender with the add-on, and such a backend beside it."""

    def __init__(self, part: Part, data: Path) -> None:
        self.part, self.backend = part, StageBackend(data)

    @property
    def studio(self) -> Any:
        return self.part("pump").studio()

    def settle(self) -> None:
        """Both go on until neither has anything to say: three questions, each after what was said before it."""
        for _ in range(3):
            self.go_on(lambda: self.studio.session.connected)
            before = self.studio.jobs.by_id
            self.studio.session.send(Jobs())
            self.go_on(lambda before=before: self.studio.jobs.by_id is not before)

    def go_on(self, until: Callable[[], bool], seconds: float = 20.0) -> None:
        """Both go on until something has happened."""

        def happened() -> bool:
            if not self.backend.socket.closed:
                self.backend.serve()
            self.part("pump").pump(0.01)
            return until()

        wait_until(happened, seconds, lambda: self.studio.session.status)

    def generate(self, prompt: str = "a red mushroom") -> str:
        """As the button does; the job's id."""
        bpy.context.scene.dreamcraft3d.prompt = prompt
        before = set(self.backend.jobs)
        assert bpy.ops.dreamcraft3d.generate() == {"FINISHED"}
        bpy.ops.ed.undo_push(message="Generate")
        self.settle()
        return next(iter(set(self.backend.jobs) - before))

    def object(self, job: str) -> Any:
        return self.part("scene.target").find(job)

    def faces(self, job: str) -> int:
        """Of its object; -1 if there is none."""
        made = self.object(job)
        return -1 if made is None else len(made.data.polygons)

    def kill(self) -> None:
        """The backend is gone."""
        self.backend.close()
        self.go_on(lambda: not self.studio.session.connected)

    def restart(self) -> None:
        """Another one serves the folder of the one that was killed, and knows its jobs."""
        self.backend = StageBackend(self.backend.data, self.backend.jobs)
        self.settle()
