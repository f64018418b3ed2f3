"""Bootstrapped score distillation (DreamCraft3D, ICLR 2024): VSD whose prior is itself taught by restored renders.

In rounds: renders of the object from all around are noised to t' and restored with the frozen prior; a DreamBooth learns
them; the object is distilled from it. The frozen prior sees one view at a time and knows nothing of the others, so
views distilled from it disagree. Renders of one object agree, their restorations nearly so, and the DreamBooth, which
has seen them together, more than it. t' falls from round to round, so that less and less is invented anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.distillation.vsd import vsd_loss
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.render.camera import Cameras


def restored_renders(
    clean: Tensor, frozen: Guidance, cameras: Cameras, level: float, generator: torch.Generator, steps: int = 25
) -> Tensor:
    """r_t'(x), what the DreamBooth is taught: (B, C, h, w) from encoded renders ``clean`` of that shape.

    Args:
        frozen: the prior that nothing has taught.
        level: t' as a fraction of the schedule, in (0, 1].
        steps: DDIM steps of the whole schedule, of which ``level`` takes its share.
    """
    return restore(frozen, noised(frozen, clean, level, generator), cameras, start=level, steps=steps)


def bsd_loss(
    pictures: Tensor,
    dreambooth: Guidance,
    lora: Guidance,
    cameras: Cameras,
    timesteps: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """A scalar with gradient w(t) (eps_DreamBooth - eps_lora) / B; arguments as in :func:`vsd_loss`."""
    return vsd_loss(pictures, dreambooth, lora, cameras, timesteps, generator)
