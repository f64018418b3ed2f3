"""A run in the terminal."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True)


class ProgressBars:
    """Shows a run in the terminal, a bar for each stage; Ctrl-C asks it to stop after the present step."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )
        self.tasks: dict[str, Any] = {}
        self.stop = False

    def __enter__(self) -> ProgressBars:
        self.previous = signal.signal(signal.SIGINT, self._interrupted)
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        signal.signal(signal.SIGINT, self.previous)

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
        self.said("Stopping after this step; press Ctrl-C again to stop at once.")

    def said(self, sentence: str) -> None:
        self.progress.console.print(sentence, markup=False)

    def began(self, stage: str, steps: int, done: int) -> None:
        self.tasks[stage] = self.progress.add_task(stage, total=steps, completed=done, note="")

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        note = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
        self.progress.update(self.tasks[stage], completed=done, note=note[:60])

    def ended(self, stage: str, seconds: float) -> None:
        task = self.tasks[stage]
        self.progress.update(task, completed=self.progress.tasks[task].total, note=f"{seconds:.0f} s")

    def sampled(self, stage: str, done: int, pictures: object) -> None:
        """See :meth:`pictured`."""

    def pictured(self, pictures: object) -> None:
        """Pictures and shapes are not shown in a terminal."""

    def shaped(self, stage: str, surface: object) -> None:
        """See :meth:`pictured`."""

    def wants_stop(self) -> bool:
        return self.stop

    def wants_next(self, stage: str) -> bool:
        return False
