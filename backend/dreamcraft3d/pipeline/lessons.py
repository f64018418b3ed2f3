"""What a DreamBooth is taught: pictures of the object, restored from renders, each with its camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.distillation.bsd import restored_renders
from dreamcraft3d.pipeline.config import TextureSettings
from dreamcraft3d.pipeline.stage import joined, random_cameras
from dreamcraft3d.priors.base import Adapted, Guidance
from dreamcraft3d.render.camera import Cameras

Render = Callable[[Cameras], Tensor]
"""The object as it is, (B, S, S, 3) in [0, 1]."""


class Lessons:
    """Encoded pictures (N, C, h, w) and their N cameras; none before the first are restored.

    Args:
        settings: of the texture stage.
        render: shows the object.
        frozen: makes the prior that restores; asked for anew each time, so that memory need not hold it meanwhile.
        generator: that of the stage.
        part: shows where the object is repainted, (B, S, S, 1) in [0, 1]: there alone are pictures restored; None for all.
    """

    def __init__(
        self,
        settings: TextureSettings,
        render: Render,
        frozen: Callable[[], Guidance],
        generator: torch.Generator,
        part: Render | None = None,
    ) -> None:
        self.settings, self.generator, self._part = settings, generator, part
        self._render, self._frozen = render, frozen
        self.pictures: Tensor | None = None
        self.cameras = Cameras.at([])

    def renew(self, within: int, level: float) -> Tensor | None:
        """Restore what is to be learnt from step ``within`` of a round on; those pictures, or None if none are due."""
        raise NotImplementedError

    def draw(self, count: int) -> tuple[Tensor, Cameras]:
        """At most ``count`` of them at random."""
        assert self.pictures is not None
        chosen = torch.randperm(len(self.cameras), generator=self.generator)[:count]
        return self.pictures[chosen.to(self.pictures.device)], self.cameras[chosen]

    def state(self) -> dict[str, Any]:
        """For the stage's checkpoint."""
        return {"pictures": self.pictures, "azimuth": self.cameras.azimuth, "elevation": self.cameras.elevation}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Take back what :meth:`state` gave."""
        self.pictures = None if state["pictures"] is None else state["pictures"].to(device)
        self.cameras = Cameras(state["azimuth"], state["elevation"])

    def _restored(self, by: Guidance, cameras: Cameras, level: float) -> Tensor:
        """r_t'(x) of renders from there."""
        clean = by.encode(self._render(cameras))
        restored = restored_renders(clean, by, cameras, level, self.generator, self.settings.restore_steps)
        if self._part is None:
            return restored
        height, width = restored.shape[-2:]
        part = F.adaptive_avg_pool2d(self._part(cameras).permute(0, 3, 1, 2), (height, width))
        return torch.lerp(clean, restored, part)


class AllAround(Lessons):
    """All views at the beginning of a round, by the frozen prior; the reference (1, S, S, 3) is the first of them."""

    def __init__(self, reference: Tensor, *shared: Any) -> None:
        super().__init__(*shared)
        self.reference = reference
        count = self.settings.restored_views
        elevations = [(-5.0, 30.0, 10.0)[i % 3] for i in range(count)]
        self.around = Cameras(Cameras.ring(count).azimuth, torch.tensor(elevations))

    def renew(self, within: int, level: float) -> Tensor | None:
        if within > 0:
            return None
        by = self._frozen()
        restored = self._restored(by, self.around, level)
        self.pictures = torch.cat([by.encode(self.reference), restored])
        self.cameras = joined(Cameras.at(0.0), self.around)
        return self.pictures


class OneByOne(Lessons):
    """A random view every few steps while the DreamBooth learns, as in the released code; the newest are kept.

    The first is restored by the frozen prior and all others by the DreamBooth as it is then, since there the two are one
    and the same object from the first picture on. The reference is not among them.
    """

    def __init__(self, dreambooth: Adapted, *shared: Any) -> None:
        super().__init__(*shared)
        self.taught = dreambooth.at_scale(self.settings.restore_scale)

    def renew(self, within: int, level: float) -> Tensor | None:
        if within >= self.settings.dreambooth_steps or within % self.settings.restore_every:
            return None
        by = self._frozen() if self.pictures is None else self.taught
        camera = random_cameras(1, 1.0, self.generator)
        restored = self._restored(by, camera, level)
        kept = slice(-self.settings.restored_views, None)
        self.pictures = restored if self.pictures is None else torch.cat([self.pictures, restored])[kept]
        self.cameras = joined(self.cameras, camera)[kept]
        return restored
