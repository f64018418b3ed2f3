"""Stage 1: the reference picture, from words or from a file, cut out and framed, with its depth and normals."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FramedPicture, frame
from dreamcraft3d.picture.grain import without_grain
from dreamcraft3d.picture.load import load_picture
from dreamcraft3d.pipeline.config import ReferenceSettings
from dreamcraft3d.pipeline.estimators import Estimators
from dreamcraft3d.priors.base import Drawing, Priors
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.mesh import Mesh

REDRAWN = 0.9
"""How much of a given mesh's own look is lost before the words redraw it: the noise level t'."""


@dataclass(frozen=True)
class Reference:
    """What the object looks like from its front (azimuth 0, elevation 0), and its words.

    Attributes:
        prompt: without view words.
        rgb: (1, S, S, 3) on white, [0, 1].
        mask: (1, S, S, 1) coverage.
        depth: (1, S, S, 1) in [0, 1] inside the mask, far = large, 0 outside.
        normal: (1, S, S, 3) unit world normals, 0 outside.
    """

    prompt: str
    rgb: Tensor
    mask: Tensor
    depth: Tensor
    normal: Tensor

    def at(self, size: int) -> Reference:
        """The same at another size."""
        if self.rgb.shape[1] == size:
            return self
        normal = F.normalize(_resized(self.normal, size), dim=-1, eps=1e-3)
        rgb, mask, depth = (_resized(x, size) for x in (self.rgb, self.mask, self.depth))
        return Reference(self.prompt, rgb, mask, depth, normal)

    def save(self, path: Path) -> None:
        tensors = {"rgb": self.rgb, "mask": self.mask, "depth": self.depth, "normal": self.normal}
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, {"prompt": self.prompt})

    @staticmethod
    def load(path: Path, prompt: str, device: torch.device | str) -> Reference:
        return Reference(prompt, **{k: v.to(device) for k, v in load_file(path).items()})


def _resized(picture: Tensor, size: int) -> Tensor:
    return F.interpolate(
        picture.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=picture.shape[1] > size
    ).permute(0, 2, 3, 1)


def picture_from_file(path: Path, size: int, estimators: Estimators) -> FramedPicture:
    """A picture file, cut out and framed.

    Raises:
        UserError: the file is missing, broken, or shows no object that can be cut out.
    """
    return frame(estimators.cut_out(load_picture(path)), size)


def picture_from_words(
    priors: Priors, prompt: str, settings: ReferenceSettings, generator: torch.Generator, estimators: Estimators
) -> FramedPicture:
    """The best of several pictures drawn for a prompt, freed from grain.

    Raises:
        UserError: no picture shows an object that can be cut out.
    """
    wish = Drawing(settings.candidates, settings.guidance_scale, settings.start, settings.steps)
    for picture in priors.draw(prompt, wish, generator):
        flat = without_grain(picture.cpu())
        with suppress(UserError):  # it shows nothing
            opaque = torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)
            return frame(estimators.cut_out(opaque), priors.picture_size)
    raise UserError(f'No drawing of "{prompt}" shows an object.', "Try another seed, or fewer and simpler words.")


def make_reference(
    prompt: str, picture: FramedPicture, estimators: Estimators, generator: torch.Generator
) -> Reference:
    """Estimate depth and normals of a framed picture."""
    surface = estimators.surface(picture, generator)
    rgb, mask = (each[None].to(estimators.device) for each in (picture.rgb, picture.mask))
    x, y, z = surface.normal.unbind(dim=-1)  # of the front camera: right is world +y, up +z, toward it +x
    return Reference(prompt, rgb, mask, surface.depth, torch.stack([z, x, y], dim=-1))


def reference_from_mesh(
    priors: Priors, prompt: str, mesh: Mesh, settings: ReferenceSettings, generator: torch.Generator
) -> Reference:
    """A picture of a given mesh as the words would have it: its front, noised nearly to nothing and drawn anew.

    Mask, depth and normals are the mesh's own.

    Args:
        mesh: at the size :func:`fit_mesh` gives it.
    """
    views = render_mesh(mesh, Cameras.at(0.0).to(mesh.vertices.device), priors.picture_size)
    wish = Drawing(1, settings.guidance_scale, REDRAWN, settings.steps)
    drawn = priors.redraw(views.rgb, prompt, wish, generator)
    depth = views.depth
    inside = views.mask > 0.5
    near, far = depth[inside].min(), depth[inside].max()
    depth = ((depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1) * inside
    normal = F.normalize(views.normal, dim=-1, eps=1e-3)
    return Reference(prompt, drawn * views.mask + 1 - views.mask, views.mask, depth, normal)
