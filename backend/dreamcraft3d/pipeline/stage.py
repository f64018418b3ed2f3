"""What the driver knows of a stage: it takes steps, can be saved and restored, shown, and finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from dreamcraft3d.distillation.hybrid import Hybrid
from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.pipeline.config import Distillation, Preset
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.priors.base import Priors
from dreamcraft3d.priors.memory import NO_MEANS, Means
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.in_turn import in_turn
from dreamcraft3d.shape.mesh import Mesh

Views = TypeVar("Views")


@dataclass(frozen=True)
class Context:
    """What all stages share.

    Attributes:
        means: by which the run fits into memory; that views are rendered one after another is the stages' own part.
    """

    preset: Preset
    priors: Priors
    reference: Reference
    device: torch.device
    seed: int
    means: Means = NO_MEANS

    def hybrid(self, settings: Distillation) -> Hybrid:
        """The 2D and the 3D prior, asked for this run's words and picture."""
        return Hybrid(
            self.priors.words(self.reference.prompt, settings.flat_scale),
            self.priors.view(self.reference.rgb, settings.view_scale),
            settings.mu,
        )

    def rendered(self, render: Callable[..., Views], cameras: Cameras, *more: Tensor) -> Views:
        """``render(cameras, *more)``, as memory allows; see :func:`in_turn`."""
        here = cameras.to(self.device)
        return in_turn(render, here, *more) if self.means.one_view else render(here, *more)


class Stage(Protocol):
    """An optimisation in ``steps`` steps.

    Attributes:
        samples: pictures (N, S, S, 3) that the last step drew to learn from; None where it drew none.
    """

    name: str
    steps: int
    samples: Tensor | None

    def step(self, index: int) -> dict[str, float]:
        """Take step ``index`` (from 0) and tell its losses, and other numbers, by name."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything the next step depends on: tensors and plain values only."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        ...

    def render(self, cameras: Cameras, size: int) -> Tensor:
        """Shaded pictures (B, size, size, 3) of the object as it is."""
        ...

    def surface(self) -> Mesh | None:
        """The object as it is, with colours at its vertices and without gradients; None while it has no surface."""
        ...

    def finish(self, path: Path) -> None:
        """Write the stage's result, a safetensors file."""
        ...


def random_cameras(count: int, opened: float, generator: torch.Generator) -> Cameras:
    """Cameras around the object: azimuth within 180 degrees of the front, elevation in [-10, 45], half of them uniform
    in elevation and half in its sine; ``opened`` in [0, 1] narrows both ranges toward the reference view (progressive
    views)."""
    spread = torch.rand(count, generator=generator)
    low, high = torch.deg2rad(torch.tensor([-10.0, 45.0])).sin()
    by_sine = torch.rad2deg(torch.asin(low + spread * (high - low)))
    even = torch.rand(count, generator=generator) < 0.5
    elevation = torch.where(even, -10 + 55 * spread, by_sine)
    azimuth = torch.rand(count, generator=generator) * 360 - 180
    return Cameras(azimuth * opened, elevation * opened)


def joined(first: Cameras, second: Cameras) -> Cameras:
    """Both batches in one."""
    return Cameras(torch.cat([first.azimuth, second.azimuth]), torch.cat([first.elevation, second.elevation]))


def opened(progress: float, until: float) -> float:
    """How far the views are opened at ``progress`` of a stage that opens them until ``until``."""
    return 1.0 if until <= 0 else min(progress / until, 1.0)


def settle(optimizer: torch.optim.Optimizer, progress: float, settling: float) -> None:
    """Set an optimizer's rates for the step at ``progress`` of a stage: they are what they were made with, and fall to
    nothing, in a straight line, over the last share ``settling`` of it.

    Adam makes whole steps of whatever wavers, as score distillation does for ever; smaller ones find its middle.
    """
    factor = 1.0 if settling <= 0 else min((1 - progress) / settling, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("initial_lr", group["lr"])


def view_timesteps(settings: Distillation, count: int, generator: torch.Generator) -> Tensor | None:
    """The 3D prior's own timesteps (count,) int64, where the preset gives it a range of its own; else None."""
    own = settings.view_timesteps
    return None if own is None else Annealed(own, own, 0.0).draw(0.0, count, 1000, generator)
