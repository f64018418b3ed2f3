"""Stage 2: an implicit surface by volume rendering, pulled into shape by hybrid score distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import CoarseSettings
from dreamcraft3d.pipeline.geometry import half_extent_of
from dreamcraft3d.pipeline.losses import reference_losses, total, weight_at
from dreamcraft3d.pipeline.regularisers import continuity, eikonal, entropy, flatness, orientation
from dreamcraft3d.pipeline.sampled import SampledViews, sample_views, sampled_cameras
from dreamcraft3d.pipeline.stage import Context, joined, opened, random_cameras, view_timesteps
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.hull import missed_parts, project_pictures
from dreamcraft3d.render.volume import VolumeViews, render_volume
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.encoding import HashEncoding
from dreamcraft3d.shape.field import DenseField, Field, HashField, Surface
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.sdf import sdf_from_occupancy

OCCUPANCY = 32
OCCUPANCY_EVERY = 8
FITTED = 2  # of the sampled views, at every step
HULL_SHARE = 0.7  # of the sampled outlines: they do not agree everywhere
MATTER, EMPTINESS = 4.0, 9.0  # density logits deep inside the hull, and (negative) far outside


def make_field(settings: CoarseSettings, half_extent: float, surface: Surface) -> Field:
    """The representation a preset asks for."""
    if settings.encoding == "dense":
        return DenseField(surface, half_extent, settings.resolution)
    return HashField(surface, half_extent, HashEncoding(half_extent))


class CoarseStage:
    """First, if the preset asks for it, a fit to views sampled from the 3D prior; then hybrid distillation.

    The fit starts the field near the right shape, which saves most of the steps that distillation from a blob takes.

    Args of the constructor:
        context: shared by all stages.
        field: to start from, or None to start from nothing.
    """

    name = "coarse"
    samples: Tensor | None = None

    def __init__(self, context: Context, field: Field | None = None) -> None:
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
        self.given = field is not None
        half_extent = context.preset.half_extent
        if field is None:
            self._optimise(make_field(self.settings, half_extent, "density"))
        else:
            self._optimise(taken_over(field, self.settings, half_extent))

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
        if index == self.density_steps and self.field.surface == "density":
            self._optimise(as_signed_distance(self.field, self.settings))
        if index % OCCUPANCY_EVERY == 0:
            self.occupancy = self.field.occupancy(OCCUPANCY, self.ray_step)
        if self.sampled is None and index < self.fit_steps:
            self._sample()
        losses = self._fit(index) if index < self.fit_steps else self._distil(index)
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _render(self, cameras: Cameras) -> VolumeViews:
        def render(cameras: Cameras, jitter: Tensor) -> VolumeViews:
            return render_volume(self.field, cameras, size, self.occupancy, self.ray_step, jitter=jitter)

        size = self.settings.picture
        return self.context.rendered(render, cameras, torch.rand(len(cameras), size * size, generator=self.generator))

    def _regularisers(self, views: VolumeViews, index: int) -> dict[str, Tensor]:
        settings, (shape, colour) = self.settings, self.field.roughness()
        losses = {"smoothness": settings.smoothness * shape + settings.colour_smoothness * colour}
        if settings.eikonal and self.field.surface == "sdf":
            losses["eikonal"] = settings.eikonal * eikonal(views)
        for name, weight, measured in (
            ("sparsity", settings.sparsity, entropy),
            ("orientation", settings.orientation, orientation),
            ("flatness", settings.flatness, flatness),
            ("continuity", settings.continuity, self._continuity),
        ):
            if now := weight_at(weight, index):
                losses[name] = now * measured(views)
        return losses

    def _continuity(self, views: VolumeViews) -> Tensor:
        return continuity(views, self.field, self.generator)

    def _known_cameras(self) -> tuple[Cameras, Tensor]:
        """The reference's camera, then those of a few sampled views, and which of them these are."""
        if self.sampled is None:
            return Cameras.at(0.0), torch.zeros(0, dtype=torch.long)
        chosen = torch.randperm(len(self.sampled), generator=self.generator)[:FITTED]
        return joined(Cameras.at(0.0), self.sampled.cameras[chosen]), chosen

    def _known_losses(self, views: VolumeViews, chosen: Tensor, index: int) -> dict[str, Tensor]:
        """At the reference's view, the first, and at the sampled ones that follow it; and what regularises all views."""
        weights = self.settings.reference
        losses = reference_losses(weights, self.reference, views) | self._regularisers(views, index)
        if self.sampled is not None:
            shown, target = slice(1, 1 + len(chosen)), self.sampled[chosen]
            losses["views"] = weights.rgb * ((views.rgb[shown] - target.rgb).square() * target.trusted()).mean()
            losses["outlines"] = weights.mask * F.mse_loss(views.mask[shown], target.mask)
        return losses

    def _fit(self, index: int) -> dict[str, Tensor]:
        cameras, chosen = self._known_cameras()
        return self._known_losses(self._render(cameras), chosen, index)

    def _sample(self) -> None:
        self.sampled = sample_views(self.context, self.settings, self.generator)
        if isinstance(self.field, DenseField) and not self.given:
            self._start_from_hull(self.field, self.sampled)

    @torch.no_grad()
    def _start_from_hull(self, field: DenseField, sampled: SampledViews) -> None:
        """Fill what the reference's outline and most of the sampled ones contain, in the colours they show there.

        Sampled views err, the reference does not: what it shows and no depth has enough votes for is rescued, and added
        to the sampled views, which would dissolve it again.
        """
        shape, nodes = (self.settings.resolution,) * 3, field.nodes()
        reference, front, cameras = self.reference, Cameras.at(0.0), sampled.cameras
        shown = project_pictures(torch.cat([reference.mask, reference.rgb], dim=-1), front, nodes)[0]
        seen = project_pictures(torch.cat([sampled.mask, sampled.rgb], dim=-1), cameras, nodes)
        supported = (seen[..., 0].mean(dim=0) > HULL_SHARE) & (shown[:, 0] > 0.5)
        missed = missed_parts(reference.mask, front, sampled.mask, cameras, HULL_SHARE, field.half_extent, nodes)
        if not (supported | missed).any():
            return
        colours = (seen[..., 1:] * seen[..., :1]).sum(dim=0) / seen[..., :1].sum(dim=0).clamp(min=0.5)
        colours = torch.where(missed[:, None], shown[:, 1:], colours)
        field.colour.copy_(torch.logit(colours, eps=0.05).T.reshape(3, *shape))
        if missed.any():
            self._fill(field, missed.reshape(shape))
            views = render_field(field, cameras.to(self.context.device), self.settings.picture, self.ray_step)
            added = ((views.mask > 0.5) & (sampled.mask < 0.5)).float()
            rgb = torch.lerp(sampled.rgb, views.rgb.clamp(0, 1), added)
            self.sampled = SampledViews(rgb, torch.maximum(sampled.mask, added), cameras)
        self._fill(field, (supported | missed).reshape(shape))
        self.occupancy = field.occupancy(OCCUPANCY, self.ray_step)

    def _fill(self, field: DenseField, inside: Tensor) -> None:
        """Matter in these voxels (R, R, R), emptiness in the others."""
        distance = sdf_from_occupancy(inside.cpu(), field.half_extent)
        sharp = torch.tanh(-distance / (2 * field.spacing))
        field.shape.copy_(torch.where(sharp > 0, MATTER * sharp, EMPTINESS * sharp)[None])

    def _distil(self, index: int) -> dict[str, Tensor]:
        settings = self.settings.distillation
        progress = (index - self.fit_steps) / max(self.steps - self.fit_steps, 1)
        if self.settings.alternate and index % 2 == 0:
            return self._fit(index)
        spread = 1.0 if self.fit_steps else opened(progress, settings.views_until)
        known, chosen = self._known_cameras()
        cameras = random_cameras(settings.views, spread, self.generator)
        views = self._render(cameras if self.settings.alternate else joined(known, cameras))
        timesteps = self.timesteps.draw(progress, len(cameras), 1000, self.generator)
        seen = view_timesteps(settings, len(cameras), self.generator)
        distilled = self.hybrid.loss(views.rgb[-len(cameras) :], cameras, timesteps, self.generator, seen)
        beside = (
            self._regularisers(views, index) if self.settings.alternate else self._known_losses(views, chosen, index)
        )
        return beside | {"distillation": settings.weight * distilled}

    def state(self) -> dict[str, Any]:
        return {
            "surface": self.field.surface,
            "field": self.field.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "occupancy": self.occupancy,
            "sampled": None if self.sampled is None else {"rgb": self.sampled.rgb, "mask": self.sampled.mask},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._optimise(make_field(self.settings, self.context.preset.half_extent, state["surface"]))
        self.field.load_state_dict(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.occupancy = state["occupancy"].to(self.context.device)
        if state["sampled"] is not None:
            rgb, mask = (state["sampled"][name].to(self.context.device) for name in ("rgb", "mask"))
            self.sampled = SampledViews(rgb, mask, sampled_cameras(len(rgb)))

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
        save_file(state, path, {"surface": self.field.surface, "half_extent": str(self.field.half_extent)})


@torch.no_grad()
def render_field(field: Field, cameras: Cameras, size: int, ray_step: float) -> VolumeViews:
    """Pictures of a finished field, without jitter."""
    return render_volume(field, cameras, size, field.occupancy(OCCUPANCY, ray_step), ray_step / 2)


def load_field(path: Path, device: torch.device) -> Field:
    """The field a finished coarse stage wrote, whatever the preset."""
    with safe_open(path, "pt") as file:
        surface = file.metadata()["surface"]
    state, half_extent = load_file(path), half_extent_of(path)
    field: Field
    if "shape" in state:
        field = DenseField(surface, half_extent, state["shape"].shape[-1])
    else:
        field = HashField(surface, half_extent, HashEncoding(half_extent))
    field.load_state_dict(state)
    return field.to(device)


@torch.no_grad()
def taken_over(field: Field, settings: CoarseSettings, half_extent: float) -> Field:
    """A field as a preset wants it, the same as far as that can hold it.

    Raises:
        UserError: a hash grid is wanted, and that is none.
    """
    made = make_field(settings, half_extent, field.surface)
    shapes = [{name: tensor.shape for name, tensor in each.state_dict().items()} for each in (made, field)]
    if shapes[0] == shapes[1] and half_extent == field.half_extent:
        made.load_state_dict(field.state_dict())
    elif isinstance(made, DenseField):
        nodes = made.nodes().to(field.sharpness.device)
        made.shape.copy_(field.geometry(nodes).reshape(made.shape.shape))
        made.colour.copy_(torch.logit(field.albedo(nodes), eps=1e-4).T.reshape(made.colour.shape))
        made.sharpness.copy_(field.sharpness)
    else:
        raise UserError(
            "The preset has a hash grid, into which this coarse shape cannot be put.",
            "Begin with the geometry stage, or choose the preset that the shape was made with.",
        )
    return made


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
