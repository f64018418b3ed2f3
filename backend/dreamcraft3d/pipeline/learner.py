"""A model that learns while a stage goes on, and how: its optimiser, kept in the stage's checkpoint with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dreamcraft3d.priors.base import Adapted
from dreamcraft3d.render.camera import Cameras


@dataclass
class Learner:
    """An adapted model, the rate it learns at, and what damps the updates where gradients are small (AdamW's epsilon)."""

    model: Adapted
    rate: float
    damping: float
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters, lr=self.rate, eps=self.damping)

    def learn(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> float:
        """A step on encoded pictures (B, C, h, w) seen by B cameras; returns the loss before it."""
        loss = self.model.loss(clean, cameras, generator)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
