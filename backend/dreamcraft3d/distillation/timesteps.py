"""Which timestep to distil at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Annealed:
    """A range of noise levels that moves as the stage goes on (paper: from [0.7, 0.85] to [0.2, 0.5]).

    Attributes:
        start, end: (low, high) fractions of the schedule at the first and after the last annealed step.
        until: fraction of the stage after which ``end`` holds.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    until: float

    def range(self, progress: float) -> tuple[float, float]:
        """(low, high) at ``progress`` in [0, 1] of the stage."""
        r = 1.0 if self.until <= 0 else min(progress / self.until, 1.0)
        return (
            self.start[0] + r * (self.end[0] - self.start[0]),
            self.start[1] + r * (self.end[1] - self.start[1]),
        )

    def draw(self, progress: float, batch: int, total: int, generator: torch.Generator) -> Tensor:
        """(batch,) int64 timesteps, uniform in the present range, of a schedule of ``total`` steps."""
        low, high = (round(bound * total) for bound in self.range(progress))
        return torch.randint(low, high + 1, (batch,), generator=generator).clamp(max=total - 1)
