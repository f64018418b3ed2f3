"""Views drawn by the 3D prior before any optimisation: a start that is cheaper than hundreds of steps of distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.picture.outline import outlines
from dreamcraft3d.picture.palette import with_palette
from dreamcraft3d.pipeline.config import CoarseSettings
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.priors.embedded import ReferenceGuidance
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.render.camera import Cameras


@dataclass(frozen=True)
class SampledViews:
    """Pictures (N, S, S, 3) on white, their outlines (N, S, S, 1), and where they were seen from."""

    rgb: Tensor
    mask: Tensor
    cameras: Cameras

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, chosen: Tensor) -> SampledViews:
        here = chosen.to(self.rgb.device)
        return SampledViews(self.rgb[here], self.mask[here], self.cameras[chosen])

    def trusted(self) -> Tensor:
        """(N, S, S, 1): 1 where colours are the object's own, and not mixed with the white around it."""
        outside = F.max_pool2d((1 - self.mask).permute(0, 3, 1, 2), 3, stride=1, padding=1)
        return (1 - outside).permute(0, 2, 3, 1)


def sampled_cameras(count: int) -> Cameras:
    """Evenly around the object, at three heights in turn."""
    return Cameras(
        torch.arange(count) * (360.0 / count), torch.tensor([(10.0, 35.0, -5.0)[i % 3] for i in range(count)])
    )


@torch.no_grad()
def sample_views(context: Context, settings: CoarseSettings, generator: torch.Generator) -> SampledViews:
    """The object from all around, from noised sketches, in the reference's palette: what is foretold from one picture
    tends to the mean of all objects, whose colours are paler."""
    cameras = sampled_cameras(settings.sampled_views)
    here = cameras.to(context.device)
    assert isinstance(context.priors, EmbeddedPriors)  # no other one has sketches; presets see to it
    guidance = ReferenceGuidance(context.priors.prior, context.reference.rgb, settings.sampled_view_scale)
    noisy = noised(guidance, guidance.sketched(here), settings.sampled_view_start, generator, alike=True)
    latents = restore(guidance, noisy, here, settings.sampled_view_start, settings.sampled_view_steps)
    pictures = guidance.prior.latents.decode(latents).clamp(0, 1)
    size = (settings.picture,) * 2
    rgb = F.interpolate(pictures.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    mask = outlines(rgb)
    inside, palette = mask[..., 0] > 0.5, context.reference.rgb[context.reference.mask[..., 0] > 0.5]
    painted = torch.ones_like(rgb)
    if inside.sum() > 1:
        painted[inside] = with_palette(rgb[inside], palette)
    return SampledViews(painted, mask, cameras)
