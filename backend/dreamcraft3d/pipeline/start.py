"""What a run and each of its stages starts from: nothing, a mesh that was given, or what an earlier stage has made."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.coarse import CoarseStage, load_field
from dreamcraft3d.pipeline.config import STAGES, Preset, StageName
from dreamcraft3d.pipeline.geometry import GeometryStage, half_extent_of, load_shape
from dreamcraft3d.pipeline.given import Given, read_given
from dreamcraft3d.pipeline.reference import in_colours_of
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.pipeline.stage import Context, Stage
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.shape.colour import Albedo, nearest_colours
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import decimate, keep_components
from dreamcraft3d.shape.sdf import MeshSdf


class Start:
    """Of one run.

    Attributes:
        given: the mesh that was given, or None.

    Raises:
        UserError: what was given is unusable.
    """

    def __init__(self, request: Request, folder: RunFolder, device: torch.device) -> None:
        self.request, self.folder, self.device = request, folder, device
        self.given: Given | None = None
        if request.mesh is not None:
            texture, mask = (None if n is None else folder.path / n for n in (request.uv_texture, request.uv_mask))
            extent = request.preset.half_extent if request.start is None else half_extent_of(folder.start)
            self.given = read_given(folder.path / request.mesh, extent, device, texture, mask)

    @torch.no_grad()
    def surface(self) -> Mesh | None:
        """What the run starts from, with its colours, at the size that the stages work at; None if from nothing."""
        if self.request.start is None:
            return None if self.given is None else self.given.fitted
        with suppress(UserError):  # a field that has no surface yet
            mesh, albedo = load_result(self.request.start, self.folder.start, self.request.preset, self.device)
            if self.given is None or not self.given.keeps_uv:
                return Mesh(mesh.vertices, mesh.faces, albedo(mesh.vertices))
            return replace(
                self.given.fitted, texture=self.given.painted(albedo, self.request.preset.export.texture).image
            )
        return None

    def stage(self, name: StageName, context: Context) -> Stage:
        """A stage where it begins."""
        before, path = self._before(name)
        if name == "coarse":
            return CoarseStage(context, None if before is None else load_field(path, self.device))
        preset, fresh = self.request.preset, name == self.request.first and self.request.anew
        albedo: Albedo | None = None
        if fresh and (surface := self.surface()) is not None:
            albedo = nearest_colours(in_colours_of(surface, context.reference))
        if name == "geometry" and before == "coarse":
            field = load_field(path, self.device)
            return GeometryStage(context, field.signed_distance, albedo or field.albedo, preset.geometry.resolution)
        mesh, albedo = self._shape(before, path, albedo)
        if name == "texture":
            return TextureStage(context, mesh, albedo, fresh, None if self.given is None else self.given.part)
        cells = preset.geometry.given_resolution
        return GeometryStage(context, MeshSdf(mesh, 2 * preset.half_extent / cells), albedo, cells)

    def _before(self, name: StageName) -> tuple[StageName | None, Path]:
        """The stage whose result this one starts from, if any, and where that lies."""
        if name == self.request.first:
            return self.request.start, self.folder.start
        earlier = STAGES[STAGES.index(name) - 1]
        return earlier, self.folder.result(earlier)

    def _shape(self, before: StageName | None, path: Path, albedo: Albedo | None) -> tuple[Mesh, Albedo]:
        """The surface to start from, and its colours if there are no others."""
        if before is None:
            assert self.given is not None
            assert albedo is not None
            return self.given.fitted, albedo
        mesh, colour = load_result(before, path, self.request.preset, self.device)
        return self.given.fitted if self.given is not None and self.given.keeps_uv else mesh, albedo or colour


def load_result(stage: StageName, path: Path, preset: Preset, device: torch.device) -> tuple[Mesh, Albedo]:
    """The surface and the colours that a finished stage wrote; those of a coarse one are taken out of its field.

    Raises:
        UserError: a field has no surface.
    """
    if stage != "coarse":
        return load_shape(path, device)
    field = load_field(path, device)
    with torch.no_grad():
        dmtet = DMTet.from_sdf(field.signed_distance, preset.geometry.resolution, preset.half_extent, device)
        return decimate(keep_components(dmtet.extract()), preset.geometry.faces), field.albedo
