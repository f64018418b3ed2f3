"""Painting into a texture that the mesh brings with it: how it is looked at meanwhile."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from dreamcraft3d.export.bake import Canvas
from dreamcraft3d.export.unwrap import laid_out
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.texture import for_renders, sample_texture, shrunk, size_within
from dreamcraft3d.shape.colour import Albedo
from dreamcraft3d.shape.mesh import Mesh

PREVIEW = 512
"""Texels of the longer side of what is shown meanwhile, at most."""


class OwnTexture:
    """A mesh with a UV map of its own, as renders see it.

    Args:
        mesh: with ``uv``, and perhaps a texture to start from.
        part: (H, W, 1) in [0, 1], what of that texture is repainted; None for all.
        picture: side of the renders.
        size: side of the texture to be painted if none was given.

    Attributes:
        mesh, part: the same, no finer than those show.
    """

    def __init__(self, mesh: Mesh, part: Tensor | None, picture: int, size: int) -> None:
        whole = (size, size) if mesh.texture is None else (mesh.texture.shape[0], mesh.texture.shape[1])
        self._preview = size_within(*whole, PREVIEW)
        self._given = None if mesh.texture is None else shrunk(mesh.texture, PREVIEW)
        self._part = None if part is None else shrunk(part, PREVIEW)
        self.mesh = replace(mesh, texture=None if mesh.texture is None else for_renders(mesh.texture, picture))
        self.part = None if part is None else for_renders(part, picture)

    def within_part(self, reference: Reference) -> Reference:
        """The reference where the object is repainted, and the object as it was elsewhere."""
        if self.part is None:
            return reference
        size, front = reference.rgb.shape[1], Cameras.at(0.0).to(reference.rgb.device)
        with torch.no_grad():
            given = render_mesh(self.mesh, front, size).rgb
            return replace(reference, rgb=torch.lerp(given, reference.rgb, self.part_seen(front, size)))

    def part_seen(self, cameras: Cameras, size: int) -> Tensor:
        """(B, size, size, 1) in [0, 1], where in pictures the object is repainted."""
        assert self.part is not None
        return render_mesh(replace(self.mesh, texture=self.part.expand(-1, -1, 3)), cameras, size).albedo[..., :1]

    @cached_property
    def _canvas(self) -> Canvas:
        return Canvas.of(laid_out(self.mesh), *self._preview)

    def painted(self, albedo: Albedo) -> Mesh:
        """The mesh with a texture of these colours, coarse enough to be shown meanwhile, and with them at its vertices."""
        image = self._canvas.painted(albedo)
        if self._given is not None and self._part is not None:
            image = torch.lerp(self._given, image, self._part)
        assert self.mesh.uv is not None
        colours = image.new_zeros(len(self.mesh.vertices), 3)
        colours[self.mesh.faces.reshape(-1)] = sample_texture(image, self.mesh.uv)
        return replace(self.mesh, colours=colours, texture=image)
