"""Stage 3: a DMTet mesh with a colour field, rasterized, refined by hybrid distillation on normals and colours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamcraft3d.distillation.detail import detail
from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import GeometrySettings
from dreamcraft3d.pipeline.losses import reference_losses, total, weight_at
from dreamcraft3d.pipeline.stage import Context, joined, opened, random_cameras, view_timesteps
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import MeshViews, render_mesh
from dreamcraft3d.shape.colour import Albedo, DenseColour
from dreamcraft3d.shape.dmtet import DMTet, mesh_laplacian, normal_consistency
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import decimate, keep_components


class GeometryStage:
    """Args of the constructor:

    context: shared by all stages.
    signed_distance: (N, 3) points to (N,), negative inside: the coarse field, or any mesh's.
    albedo: the colours to start from.
    resolution: cells a side of the grid.
    """

    name = "geometry"
    samples: Tensor | None = None

    def __init__(
        self, context: Context, signed_distance: Callable[[Tensor], Tensor], albedo: Albedo, resolution: int
    ) -> None:
        self.context = context
        self.settings: GeometrySettings = context.preset.geometry
        self.steps = self.settings.steps
        self.generator = torch.Generator().manual_seed(context.seed + 1)
        self.reference = context.reference.at(self.settings.picture)
        self.hybrid = context.hybrid(self.settings.distillation)
        d = self.settings.distillation
        self.normals = context.priors.normals(context.reference.prompt, d.flat_scale)
        self.timesteps = Annealed(d.timesteps_start, d.timesteps_end, d.annealed_until)
        half_extent = context.preset.half_extent
        with torch.no_grad():
            self.dmtet = DMTet.from_sdf(signed_distance, resolution, half_extent, context.device)
        self.colour = DenseColour(self.settings.colour_resolution, half_extent).to(context.device).imitate(albedo)
        self._make_optimizer()

    def _make_optimizer(self) -> None:
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.dmtet.parameters()), "lr": self.settings.shape_rate},
                {"params": list(self.colour.parameters()), "lr": self.settings.colour_rate},
            ],
            betas=(0.9, 0.99),
            eps=1e-15,
        )

    def step(self, index: int) -> dict[str, float]:
        settings = self.settings.distillation
        progress = index / self.steps
        cameras = random_cameras(settings.views, opened(progress, settings.views_until), self.generator)
        mesh = self.dmtet.extract()
        render = partial(render_mesh, mesh, size=self.settings.picture, albedo=self.colour)
        views = self.context.rendered(render, joined(Cameras.at(0.0), cameras))
        timesteps = self.timesteps.draw(progress, len(cameras), 1000, self.generator)
        shows_normals = self._shows_normals(index)
        losses = (
            {}
            if shows_normals and self.settings.alternate
            else reference_losses(self.settings.reference, self.reference, views)
        )
        seen = view_timesteps(settings, len(cameras), self.generator)
        colours = detail(views.rgb[1:], views.mask[1:], self.settings.breadth)
        if not shows_normals:
            loss = self.hybrid.loss(colours, cameras, timesteps, self.generator, seen)
        else:
            loss = sds_loss(normal_picture(views)[1:], self.normals, cameras, timesteps, self.generator)
            if self.settings.view_always:
                seen = timesteps if seen is None else seen
                loss = loss + self.hybrid.view_term(colours, cameras, seen, self.generator)
        losses["distillation"] = settings.weight * loss
        consistency = weight_at(self.settings.consistency, index)
        losses["consistency"] = consistency * normal_consistency(mesh.vertices, mesh.faces)
        if self.settings.laplacian:
            losses["laplacian"] = self.settings.laplacian * mesh_laplacian(mesh.vertices, mesh.faces)
        losses["smoothness"] = self.settings.smoothness * self.colour.smoothness()
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _shows_normals(self, index: int) -> bool:
        """Evenly spread over the steps, ``normal_share`` of them."""
        share = self.settings.normal_share
        return int((index + 1) * share) > int(index * share)

    def state(self) -> dict[str, Any]:
        return {
            "dmtet": self.dmtet.state_dict(),
            "colour": self.colour.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.dmtet = DMTet.from_state(state["dmtet"]).to(self.context.device)
        self.colour.load_state_dict(state["colour"])
        self._make_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    @torch.no_grad()
    def render(self, cameras: Cameras, size: int) -> Tensor:
        return render_mesh(self.dmtet.extract(), cameras, size, albedo=self.colour).rgb.clamp(0, 1)

    @torch.no_grad()
    def surface(self) -> Mesh:
        mesh = self.dmtet.extract()
        return Mesh(mesh.vertices, mesh.faces, self.colour(mesh.vertices))

    @torch.no_grad()
    def finish(self, path: Path) -> None:
        mesh = decimate(keep_components(self.dmtet.extract()), self.settings.faces)
        save_shape(path, Mesh(mesh.vertices.detach(), mesh.faces), self.colour)


def normal_picture(views: MeshViews) -> Tensor:
    """World normals as a picture (B, S, S, 3) on white, (n + 1) / 2, as the 2D prior knows normal maps."""
    return (views.normal + views.mask) / 2 + (1 - views.mask)


def save_shape(path: Path, mesh: Mesh, colour: DenseColour) -> None:
    """Write a mesh and its colour lattice, which fills a cube of its own half extent."""
    tensors = {"vertices": mesh.vertices, "faces": mesh.faces, "colour": colour.grid.values.detach()}
    about = {"half_extent": str(colour.grid.half_extent)}
    save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, about)


def load_shape(path: Path, device: torch.device) -> tuple[Mesh, DenseColour]:
    """What :func:`save_shape` wrote, whatever the preset."""
    tensors = load_file(path)
    colour = DenseColour(tensors["colour"].shape[-1], half_extent_of(path))
    with torch.no_grad():
        colour.grid.values.copy_(tensors["colour"])
    return Mesh(tensors["vertices"].to(device), tensors["faces"].to(device)), colour.to(device)


def half_extent_of(path: Path) -> float:
    """Half the side of the cube that a finished stage's result is at home in, world units.

    Raises:
        UserError: an older version wrote it.
    """
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    if "half_extent" not in about:
        raise UserError(f"{path} was written by an older version.", "Start the run anew.")
    return float(about["half_extent"])
