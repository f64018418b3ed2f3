"""What the worker tells of a run while it goes on: progress, and previews that cost little of its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dreamcraft3d.pipeline.log import in_rows
from dreamcraft3d.service.preview_mesh import PreviewMesh
from dreamcraft3d.service.worker_messages import Progress
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d_protocol.arrays import Array, Arrays
from dreamcraft3d_protocol.messages import Message, Preview, Subject

PREVIEW_SECONDS = 1.0
PREVIEW_SHARE = 0.1
"""Of the time, which previews may cost: a costly one is followed by a longer pause."""
PROGRESS_SECONDS = 0.1
SAMPLES_SIDE = 1024
"""The longer side of samples in rows, pixels, at most; an artist looks at them in a sidebar."""
ROUND = ("round", "t'")
"""The numbers of a step that say which samples it drew."""

Tell = Callable[[Message, Arrays], None]


class Watch:
    """The driver's observer of one job.

    Args:
        job: its id.
        begun: how often it was begun, this time included.
        last: the last stage, after which the object is exported.
        tell: where messages go.
        wants_stop: whether the job shall stop.
        wants_next: whether a stage of it, by name, shall end before its steps are done.
    """

    def __init__(
        self,
        job: str,
        begun: int,
        last: str,
        tell: Tell,
        wants_stop: Callable[[], bool],
        wants_next: Callable[[str], bool],
    ) -> None:
        self.job, self.last, self.wants_stop, self.wants_next = job, last, wants_stop, wants_next
        self._tell = tell
        self._started = time.monotonic()
        self._progress = Progress(job, "", 0, 0, 0.0, None, "")
        self._told_at = 0.0
        self._stage_started, self._stage_done = 0.0, 0
        self._next_preview = 0.0
        self._seq = begun << 32
        self._shape: PreviewMesh | None = None
        self._numbers: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Since the job was begun or gone on with."""
        return time.monotonic() - self._started

    def said(self, sentence: str) -> None:
        self._report(sentence=sentence)

    def began(self, stage: str, steps: int, done: int) -> None:
        self._stage_started, self._stage_done = time.monotonic(), done
        self._report(stage, done, steps)

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        self._numbers = losses
        now = time.monotonic()
        if now - self._told_at < PROGRESS_SECONDS and done < self._progress.steps:
            return
        pace = (now - self._stage_started) / max(done - self._stage_done, 1)
        self._report(stage, done, self._progress.steps, eta=round(pace * (self._progress.steps - done), 1))

    def sampled(self, stage: str, done: int, pictures: Tensor) -> None:
        grid = in_rows(pictures)
        shrunk = SAMPLES_SIDE / max(grid.shape[:2])
        if shrunk < 1:
            grid = interpolate(grid.permute(2, 0, 1)[None], scale_factor=shrunk, mode="area")[0].permute(1, 2, 0)
        caption = ", ".join(f"{name} {self._numbers[name]:g}" for name in ROUND if name in self._numbers)
        self._picture(stage, grid, "samples", caption)

    def ended(self, stage: str, seconds: float) -> None:
        if stage == self.last and stage != "reference":
            self._report("export", 0, 1)
        else:
            self._report(stage, self._progress.steps, self._progress.steps)

    def pictured(self, pictures: Tensor) -> None:
        self._picture("reference", pictures[0], "reference")
        self._picture("reference", torch.cat([pictures[1], pictures[2]], dim=1), "surface")

    def shaped(self, stage: str, surface: Callable[[], Mesh | None]) -> None:
        started = time.monotonic()
        if started < self._next_preview:
            return
        mesh = surface()
        if mesh is not None:
            self._show(stage, mesh)
        cost = time.monotonic() - started
        self._next_preview = started + max(PREVIEW_SECONDS, cost / PREVIEW_SHARE)

    def _picture(self, stage: str, picture: Tensor, subject: Subject, caption: str = "") -> None:
        shown = Preview(self.job, self._next(), stage, "picture", "", None, subject, caption)
        self._tell(shown, {"picture": _pixels(picture)})

    def _show(self, stage: str, mesh: Mesh) -> None:
        shape = PreviewMesh.of(mesh, self._shape)
        colours = mesh.colours if mesh.colours is not None else torch.full_like(mesh.vertices, 0.7)
        arrays = {"colours": shape.colours(colours)}
        if shape is not self._shape:
            whole = arrays | {"vertices": shape.vertices, "faces": shape.faces}
            self._tell(Preview(self.job, self._next(), stage, "mesh", shape.topology, None), whole)
        elif mesh.uv is None:
            self._tell(Preview(self.job, self._next(), stage, "colours", shape.topology, shape.topology), arrays)
        if mesh.uv is not None and mesh.texture is not None:
            painted = {"uv": mesh.uv.detach().cpu().float().numpy().copy(), "texture": _pixels(mesh.texture)}
            self._tell(Preview(self.job, self._next(), stage, "texture", shape.topology, shape.topology), painted)
        self._shape = shape

    def _next(self) -> int:
        """The number of the next preview; it grows over restarts of this process, too, whatever the clock says."""
        self._seq += 1
        return self._seq

    def _report(
        self, stage: str | None = None, step: int = 0, steps: int = 0, eta: float | None = None, sentence: str = ""
    ) -> None:
        if stage is None:
            stage, step, steps = self._progress.stage, self._progress.step, self._progress.steps
        self._progress = Progress(self.job, stage, step, steps, round(self.seconds, 2), eta, sentence)
        self._told_at = time.monotonic()
        self._tell(self._progress, {})


def _pixels(picture: Tensor) -> Array:
    """(H, W, 3) in [0, 1] as uint8."""
    pixels: Array = (picture.detach().cpu().clamp(0, 1) * 255).round().byte().contiguous().numpy()
    return pixels
