"""Stage 2: an implicit surface by volume rendering, pulled into shape by hybrid score distillation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.ndimage import binary_fill_holes
from torch import Tensor

from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import CoarseSettings
from dreamcraft3d.pipeline.losses import reference_losses, total
from dreamcraft3d.pipeline.stage import Context, joined, opened, random_cameras
from dreamcraft3d.priors.embedded import ReferenceGuidance
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.hull import hull_votes, project_pictures
from dreamcraft3d.render.volume import VolumeViews, render_volume
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.encoding import HashEncoding
from dreamcraft3d.shape.field import DenseField, Field, HashField, Surface
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.sdf import sdf_from_occupancy

OCCUPANCY = 32
OCCUPANCY_EVERY = 8
HULL_SHARE = 0.7  # of the sampled outlines: they do not agree everywhere
WHITE, EDGE = 0.06, 0.4  # an outline lies where so much, and this share of the most, is missing to white
MATTER, EMPTINESS = 4.0, 9.0  # density logits deep inside the hull, and (negative) far outside


def make_field(settings: CoarseSettings, half_extent: float, surface: Surface) -> Field:
    """The representation a preset asks for."""
    if settings.encoding == "dense":
        return DenseField(surface, half_extent, settings.resolution)
    return HashField(surface, half_extent, HashEncoding(half_extent))


@dataclass(frozen=True)
class SampledViews:
    """Pictures (N, S, S, 3) drawn by the 3D prior, and their outlines (N, S, S, 1)."""

    cameras: Cameras
    rgb: Tensor
    mask: Tensor


def sampled_cameras(count: int) -> Cameras:
    """Evenly around the object, at three heights in turn."""
    return Cameras(
        torch.arange(count) * (360.0 / count), torch.tensor([(10.0, 35.0, -5.0)[i % 3] for i in range(count)])
    )


def outlines(rgb: Tensor) -> Tensor:
    """Coverage (N, S, S, 1) of pictures (N, S, S, 3) on white: what differs from white, and what that encloses.

    Without it, white matter on a white ground would cost nothing. How far it must differ goes by what differs most: the
    blurred edge of a dark object lies where it is half as dark, and not where white ends.
    """
    masks = []
    for picture in rgb.cpu().numpy():
        differs = (1 - picture).max(axis=-1)
        edge = max(WHITE, EDGE * float(np.quantile(differs, 0.98)))
        masks.append(binary_fill_holes(differs > edge).astype(np.float32))
    return torch.from_numpy(np.stack(masks)).to(rgb)[..., None]


class CoarseStage:
    """First, if the preset asks for it, a fit to views sampled from the 3D prior; then hybrid distillation.

    The fit starts the field near the right shape, which saves most of the steps that distillation from a blob takes.
    """

    name = "coarse"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.preset.coarse
        self.fit_steps = self.settings.fit_steps if self.settings.sampled_views else 0
        self.density_steps = self.fit_steps + self.settings.density_steps
        self.steps = self.density_steps + self.settings.sdf_steps
        self.generator = torch.Generator().manual_seed(context.seed)
        self.reference = context.reference.at(self.settings.picture)
        self.hybrid = context.hybrid(self.settings.distillation)
        d = self.settings.distillation
        self.timesteps = Annealed(d.timesteps_start, d.timesteps_end, d.annealed_until)
        self.ray_step = 2 * context.preset.half_extent * 3**0.5 / self.settings.samples
        self.sampled: SampledViews | None = None
        self._optimise(make_field(self.settings, context.preset.half_extent, "density"))

    def _optimise(self, field: Field) -> None:
        self.field = field.to(self.context.device)
        density = field.surface == "density"
        rates = {
            "shape": self.settings.shape_rate if density else self.settings.sdf_rate,
            "sharpness": self.settings.sharpness_rate,
        }
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.field.named_parameters():
            if parameter.requires_grad:
                rate = next((r for start, r in rates.items() if name.startswith(start)), self.settings.colour_rate)
                groups.setdefault(rate, []).append(parameter)
        self.optimizer = torch.optim.Adam(
            [{"params": parameters, "lr": rate} for rate, parameters in groups.items()], betas=(0.9, 0.99), eps=1e-15
        )
        self.occupancy = self.field.occupancy(OCCUPANCY, self.ray_step)

    def step(self, index: int) -> dict[str, float]:
        if index == self.density_steps:
            self._optimise(as_signed_distance(self.field, self.settings))
        if index % OCCUPANCY_EVERY == 0:
            self.occupancy = self.field.occupancy(OCCUPANCY, self.ray_step)
        losses = self._fit() if index < self.fit_steps else self._distil(index - self.fit_steps)
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _render(self, cameras: Cameras) -> VolumeViews:
        here = cameras.to(self.context.device)
        return render_volume(
            self.field, here, self.settings.picture, self.occupancy, self.ray_step, generator=self.generator
        )

    def _regularisers(self, views: VolumeViews) -> dict[str, Tensor]:
        shape, colour = self.field.roughness()
        losses = {"smoothness": self.settings.smoothness * shape + self.settings.colour_smoothness * colour}
        if self.settings.eikonal and self.field.surface == "sdf":
            losses["eikonal"] = self.settings.eikonal * (views.samples.slope.norm(dim=-1) - 1).square().mean()
        if self.settings.sparsity:
            mask = views.mask.clamp(1e-3, 1 - 1e-3)
            losses["sparsity"] = self.settings.sparsity * F.binary_cross_entropy(mask, mask)
        return losses

    def _at_reference(self, views: VolumeViews) -> dict[str, Tensor]:
        pictures = (views.rgb[:1], views.mask[:1], views.depth[:1], views.normal[:1])
        return reference_losses(self.settings.reference, self.reference, *pictures)

    def _fit(self) -> dict[str, Tensor]:
        if self.sampled is None:
            self.sampled = self._sample_views()
            if isinstance(self.field, DenseField):
                self._start_from_hull(self.field, self.sampled)
        sampled = self.sampled
        chosen = torch.randperm(len(sampled.cameras), generator=self.generator)[:2]
        views = self._render(joined(Cameras.at(0.0), sampled.cameras[chosen]))
        losses = self._at_reference(views) | self._regularisers(views)
        chosen = chosen.to(sampled.rgb.device)
        losses["views"] = self.settings.reference.rgb * F.mse_loss(views.rgb[1:], sampled.rgb[chosen])
        losses["outlines"] = self.settings.reference.mask * F.mse_loss(views.mask[1:], sampled.mask[chosen])
        return losses

    @torch.no_grad()
    def _start_from_hull(self, field: DenseField, sampled: SampledViews) -> None:
        """Fill what the reference's outline and most of the sampled ones contain, in the colours they show there.

        Sampled views err, the reference does not: where no depth behind its outline has enough votes, the best-voted do.
        """
        resolution = self.settings.resolution
        nodes = field.nodes()
        votes = hull_votes(sampled.mask, sampled.cameras, nodes)
        allowed = project_pictures(self.reference.mask, Cameras.at(0.0), nodes)[0, :, 0]
        votes = (votes * (allowed > 0.5)).reshape((resolution,) * 3)
        enough = (0.95 * votes.amax(dim=0)).clamp(min=1e-3, max=HULL_SHARE)  # along x, the reference's line of sight
        inside = votes > enough
        if not inside.any():
            return
        distance = sdf_from_occupancy(inside.cpu(), field.half_extent)
        sharp = torch.tanh(-distance / (2 * field.spacing))
        field.shape.copy_(torch.where(sharp > 0, MATTER * sharp, EMPTINESS * sharp)[None])
        seen = project_pictures(sampled.mask, sampled.cameras, nodes)
        colours = project_pictures(sampled.rgb, sampled.cameras, nodes)
        mean = (colours * seen).sum(dim=0) / seen.sum(dim=0).clamp(min=0.5)
        field.colour.copy_(torch.logit(mean, eps=0.05).T.reshape(3, *(resolution,) * 3))
        self.occupancy = field.occupancy(OCCUPANCY, self.ray_step)

    def _distil(self, index: int) -> dict[str, Tensor]:
        settings = self.settings.distillation
        progress = index / max(self.steps - self.fit_steps, 1)
        spread = 1.0 if self.fit_steps else opened(progress, settings.views_until)
        cameras = random_cameras(settings.views, spread, self.generator)
        views = self._render(joined(Cameras.at(0.0), cameras))
        timesteps = self.timesteps.draw(progress, len(cameras), 1000, self.generator)
        losses = self._at_reference(views) | self._regularisers(views)
        losses["distillation"] = settings.weight * self.hybrid.loss(views.rgb[1:], cameras, timesteps, self.generator)
        return losses

    def _sample_views(self) -> SampledViews:
        cameras = sampled_cameras(self.settings.sampled_views)
        settings = self.settings
        guidance = ReferenceGuidance(self.context.prior, self.context.reference.rgb, settings.sampled_view_scale)
        here = cameras.to(self.context.device)
        noisy = noised(guidance, guidance.sketched(here), settings.sampled_view_start, self.generator, alike=True)
        latents = restore(guidance, noisy, here, settings.sampled_view_start, settings.sampled_view_steps)
        pictures = self.context.prior.latents.decode(latents).clamp(0, 1)
        size = (self.settings.picture,) * 2
        resized = F.interpolate(pictures.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True)
        rgb = resized.permute(0, 2, 3, 1)
        return SampledViews(cameras, rgb, outlines(rgb))

    def state(self) -> dict[str, Any]:
        return {
            "surface": self.field.surface,
            "field": self.field.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "occupancy": self.occupancy,
            "sampled": None if self.sampled is None else self.sampled.rgb,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._optimise(make_field(self.settings, self.context.preset.half_extent, state["surface"]))
        self.field.load_state_dict(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.occupancy = state["occupancy"].to(self.context.device)
        if state["sampled"] is not None:
            rgb = state["sampled"].to(self.context.device)
            self.sampled = SampledViews(sampled_cameras(len(rgb)), rgb, outlines(rgb))

    @torch.no_grad()
    def render(self, cameras: Cameras, size: int) -> Tensor:
        return render_field(self.field, cameras, size, self.ray_step).rgb.clamp(0, 1)

    @torch.no_grad()
    def surface(self) -> Mesh | None:
        resolution, extent = self.context.preset.geometry.resolution, self.context.preset.half_extent
        try:
            mesh = DMTet.from_sdf(self.field.signed_distance, resolution, extent, self.context.device).extract()
        except UserError:  # nothing is dense enough yet
            return None
        return Mesh(mesh.vertices, mesh.faces, self.field.albedo(mesh.vertices))

    def finish(self, path: Path) -> None:
        state = {k: v.contiguous().cpu() for k, v in self.field.state_dict().items()}
        save_file(state, path, {"surface": self.field.surface})


@torch.no_grad()
def render_field(field: Field, cameras: Cameras, size: int, ray_step: float) -> VolumeViews:
    """Pictures of a finished field, without jitter."""
    return render_volume(field, cameras, size, field.occupancy(OCCUPANCY, ray_step), ray_step / 2)


def load_field(path: Path, settings: CoarseSettings, half_extent: float, device: torch.device) -> Field:
    """The field a finished coarse stage wrote."""
    with safe_open(path, "pt") as file:
        surface = file.metadata()["surface"]
    field = make_field(settings, half_extent, surface)
    field.load_state_dict(load_file(path))
    return field.to(device)


@torch.no_grad()
def as_signed_distance(density: Field, settings: CoarseSettings) -> Field:
    """A field of signed distances that takes over from a density: NeuS after NeRF.

    A lattice takes the distance to the density's surface, and its colours. A hash grid is kept whole with its colour
    network, while the shape's network starts again at a sphere, as in the released code.
    """
    field = make_field(settings, density.half_extent, "sdf")
    if isinstance(field, DenseField) and isinstance(density, DenseField):
        resolution = settings.resolution
        inside = density.signed_distance(density.nodes()) < 0
        voxels = density.half_extent + density.spacing / 2  # the nodes are the middles of voxels that reach farther
        distance = sdf_from_occupancy(inside.reshape((resolution,) * 3).cpu(), voxels)
        field.shape.copy_(distance[None])
        field.colour.copy_(density.colour)
    elif isinstance(field, HashField) and isinstance(density, HashField):
        field.encoding.load_state_dict(density.encoding.state_dict())
        field.colour_network.load_state_dict(density.colour_network.state_dict())
    return field
