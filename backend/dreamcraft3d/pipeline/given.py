"""A mesh that was given: brought to the size that the stages work at, and back; perhaps with a UV map to be kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.bake import Baked, Canvas, face_at
from dreamcraft3d.export.unwrap import gutter, laid_out
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.picture.load import load_texture
from dreamcraft3d.render.camera import half_height
from dreamcraft3d.shape.colour import Albedo
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import Placement, load_mesh, normalise
from dreamcraft3d.shape.uv_map import MEASURED, check_overlap


@dataclass(frozen=True)
class Given:
    """A mesh as it was given, and as the stages have it.

    Attributes:
        mesh: where the artist has it. With ``uv``, it is kept exactly, and its texture is painted in that UV map.
        fitted: the same at the size that the priors expect; its texture goes on past the edges of islands.
        placement: from the one to the other.
        part: (H, W, 1) in [0, 1], what of its texture is repainted; None for all.
    """

    mesh: Mesh
    fitted: Mesh
    placement: Placement
    part: Tensor | None = None

    @property
    def keeps_uv(self) -> bool:
        return self.mesh.uv is not None

    def placed(self, vertices: Tensor) -> Tensor:
        """(V, 3) positions of a stage's mesh where the artist has it."""
        return self.mesh.vertices.to(vertices) if self.keeps_uv else self.placement.restore(vertices)

    def painted(self, albedo: Albedo, size: int) -> Baked:
        """The texture with these colours: as large as the one given, or ``size``, and as it was but for the part.

        Args:
            albedo: of points where ``fitted`` is.
        """
        given = None if self.mesh.texture is None else self.mesh.texture.to(self.fitted.vertices.device)
        height, width = (size, size) if given is None else given.shape[:2]
        canvas = Canvas.of(laid_out(self.fitted), height, width)
        image = canvas.painted(albedo)
        if given is not None and self.part is not None:
            image = torch.lerp(given, image, self.part)
        return Baked(image, canvas.covered, float(canvas.covered.float().mean()))


def read_given(
    mesh: Path, half_extent: float, device: torch.device, texture: Path | None = None, mask: Path | None = None
) -> Given:
    """Read what was given.

    Args:
        mesh: a mesh file; or an NPZ of ``vertices``, ``faces`` and ``uv`` and perhaps ``colours`` and ``part``, as in the
            protocol.
        half_extent: of the cube that the stages work in.
        texture, mask: picture files in the UV map.

    Raises:
        UserError: one of them is unusable, faces share too much of the UV map, or nothing is marked to be repainted.
    """
    if mesh.suffix != ".npz":
        found = load_mesh(mesh)
        fitted, placement = fit_mesh(found, half_extent)
        return Given(found, _on(device, fitted), placement)
    with np.load(mesh, allow_pickle=False) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file.files}
    image = None if texture is None else load_texture(texture)
    uv = tensors["uv"]
    found = Mesh(tensors["vertices"], tensors["faces"].long(), tensors.get("colours"), uv, image)
    fitted, placement = fit_mesh(found, half_extent)
    fitted = _on(device, replace(fitted, uv=uv.clamp(0, 1)))
    atlas = laid_out(fitted)
    check_overlap(uv.numpy(), float((face_at(atlas, MEASURED, MEASURED) >= 0).float().mean()))
    if fitted.texture is None:
        return Given(found, fitted, placement)
    canvas = Canvas.of(atlas, *fitted.texture.shape[:2])
    part = None
    if "part" in tensors or mask is not None:
        weights = tensors.get("part")
        part = _part(
            canvas, None if weights is None else weights.to(device), None if mask is None else load_texture(mask)
        )
        if not part.any():
            raise UserError("Nothing is marked to be repainted.", "Mark a part of the object, or repaint all of it.")
    filled = replace(fitted, texture=canvas.filled(fitted.texture[canvas.rows, canvas.columns]))
    return Given(found, filled, placement, part)


def _part(canvas: Canvas, weights: Tensor | None, mask: Tensor | None) -> Tensor:
    """(H, W, 1) what is repainted: what the corners' weights (3F,) say, or a picture (h, w, 3); in the gutter, so far as
    filters may reach, what the island beside it is."""
    covered = canvas.covered[..., None]
    part = torch.zeros(covered.shape, device=covered.device)
    if weights is not None:
        part = torch.where(covered, canvas.filled(canvas.interpolate_corners(weights[:, None])), part)
    if mask is not None:
        grey = mask.to(part).mean(dim=-1)[None, None]
        fitting = F.interpolate(grey, canvas.covered.shape, mode="bilinear", antialias=True)
        part = torch.maximum(part, fitting[0, 0, ..., None])
    row, column, distance = canvas.nearest
    beside = ~canvas.covered & (distance <= gutter(max(canvas.covered.shape)))
    return torch.where(beside[..., None], torch.maximum(part, part[row, column]), part).clamp(0, 1)


def _on(device: torch.device, mesh: Mesh) -> Mesh:
    tensors = (mesh.vertices, mesh.faces, mesh.colours, mesh.uv, mesh.texture)
    vertices, faces, *more = (None if t is None else t.to(device) for t in tensors)
    assert vertices is not None
    assert faces is not None
    return Mesh(vertices, faces, *more)


def fit_mesh(mesh: Mesh, half_extent: float) -> tuple[Mesh, Placement]:
    """A mesh at the size the priors expect, or smaller if it would not fit in the box; and the way back."""
    fitted, placement = normalise(mesh, FRONT_FILL * 2 * half_height())
    largest = float(fitted.vertices.abs().max())
    if largest <= 0.95 * half_extent:
        return fitted, placement
    return normalise(mesh, FRONT_FILL * 2 * half_height() * 0.95 * half_extent / largest)
