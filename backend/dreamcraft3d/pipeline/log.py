"""A run's log, beside its results: losses in TensorBoard's event files, the samples of each round as pictures.

``log/`` in the run's folder has a folder for each stage; ``tensorboard --logdir out/mushroom/log`` draws them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.shape.mesh import Mesh

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from dreamcraft3d.pipeline.driver import Observer

COLUMNS = 4


class Logged:
    """An observer that logs what it is told, and tells another one.

    A stage that goes on after a stop, or from its checkpoint, goes on in the log: what was logged of the steps it takes
    again is dropped. Without TensorBoard, of which ``dreamcraft3d doctor`` tells, only pictures are kept.

    Args:
        observer: who watches the run.
        folder: the run's.
        title: what the curves are called where the run's folder has no name of its own; a folder's.
    """

    def __init__(self, observer: Observer, folder: RunFolder, title: str = "") -> None:
        self.observer, self.folder, self.title = observer, folder, title
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Logged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def said(self, sentence: str) -> None:
        self.observer.said(sentence)

    def began(self, stage: str, steps: int, done: int) -> None:
        self._close()
        if stage != "reference":  # which has no losses
            self._writer = _writer(self.folder.log(stage, self.title), done)
        self.observer.began(stage, steps, done)

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in losses.items():
                self._writer.add_scalar(name, value, done)
        self.observer.stepped(stage, done, losses)

    def sampled(self, stage: str, done: int, pictures: Tensor) -> None:
        grid = in_rows(pictures)
        self.folder.save_views(f"{stage}-samples-{done:05d}", grid[None])
        if self._writer is not None:
            self._writer.add_image("samples", grid.clamp(0, 1).cpu(), done, dataformats="HWC")
        self.observer.sampled(stage, done, pictures)

    def ended(self, stage: str, seconds: float) -> None:
        self._close()
        self.observer.ended(stage, seconds)

    def pictured(self, pictures: Tensor) -> None:
        self.observer.pictured(pictures)

    def shaped(self, stage: str, surface: Callable[[], Mesh | None]) -> None:
        self.observer.shaped(stage, surface)

    def wants_stop(self) -> bool:
        return self.observer.wants_stop()

    def wants_next(self, stage: str) -> bool:
        return self.observer.wants_next(stage)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _writer(folder: Path, done: int) -> SummaryWriter | None:
    """Of a stage's log after ``done`` steps; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1)


def in_rows(pictures: Tensor) -> Tensor:
    """Pictures (N, S, S, 3) side by side, four in a row, (rows S, columns S, 3); white where none is left."""
    columns = min(COLUMNS, len(pictures))
    rest = pictures.new_ones(-len(pictures) % columns, *pictures.shape[1:])
    rows = torch.cat([pictures, rest]).split(columns)
    return torch.cat([torch.cat(list(row), dim=1) for row in rows])
