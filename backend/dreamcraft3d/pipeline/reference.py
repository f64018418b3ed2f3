"""Stage 1: the reference picture, from words or from a file, cut out and framed, with its depth and normals."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.ndimage import binary_erosion, distance_transform_edt
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FramedPicture, frame
from dreamcraft3d.picture.grain import without_grain
from dreamcraft3d.picture.load import load_picture
from dreamcraft3d.picture.outline import firm, outlines
from dreamcraft3d.picture.palette import palette_map, with_palette
from dreamcraft3d.pipeline.config import ReferenceSettings
from dreamcraft3d.pipeline.estimators import Estimators
from dreamcraft3d.priors.base import Drawing, Priors
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.shading import light
from dreamcraft3d.render.texture import for_renders
from dreamcraft3d.shape.colour import GREY, sampled_colours
from dreamcraft3d.shape.mesh import Mesh

EDGE = 2  # pixels of a drawn object's rim that have taken on some of the white around it


@dataclass(frozen=True)
class Reference:
    """What the object looks like from its front (azimuth 0, elevation 0), and its words.

    Attributes:
        prompt: without view words.
        rgb: (1, S, S, 3) on white, [0, 1].
        mask: (1, S, S, 1) coverage.
        depth: (1, S, S, 1) in [0, 1] inside the mask, far = large, 0 outside.
        normal: (1, S, S, 3) unit world normals, 0 outside.
        surface: how much depth and normals are to be relied upon, in [0, 1].
    """

    prompt: str
    rgb: Tensor
    mask: Tensor
    depth: Tensor
    normal: Tensor
    surface: float = 1.0

    def at(self, size: int) -> Reference:
        """The same at another size."""
        if self.rgb.shape[1] == size:
            return self
        normal = F.normalize(_resized(self.normal, size), dim=-1, eps=1e-3)
        rgb, mask, depth = (_resized(x, size) for x in (self.rgb, self.mask, self.depth))
        return replace(self, rgb=rgb, mask=mask, depth=depth, normal=normal)

    def albedo(self) -> Tensor:
        """(P, 3) the colours of the object's pixels without the light on them, [0, 1]."""
        inside = self.mask[..., 0] > 0.5
        toward_camera = self.rgb.new_tensor([1.0, 0.0, 0.0])
        return (self.rgb[inside] / light(self.normal[inside], toward_camera)).clamp(0, 1)

    def save(self, path: Path) -> None:
        tensors = {"rgb": self.rgb, "mask": self.mask, "depth": self.depth, "normal": self.normal}
        known = {"prompt": self.prompt, "surface": str(self.surface)}
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, path, known)

    @staticmethod
    def load(path: Path, prompt: str, device: torch.device | str) -> Reference:
        """One that was saved."""
        with safe_open(path, "pt") as file:
            surface = float((file.metadata() or {}).get("surface", 1))  # runs of earlier versions do not say
        return Reference(prompt, **{k: v.to(device) for k, v in load_file(path).items()}, surface=surface)


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
    """The best of several pictures drawn for a prompt, freed from grain, in the colour that the words name.

    Raises:
        UserError: no picture shows an object that can be cut out.
    """
    return _drawn(priors, prompt, settings, generator, estimators, priors.tinted)


def _drawn(
    priors: Priors,
    prompt: str,
    settings: ReferenceSettings,
    generator: torch.Generator,
    estimators: Estimators,
    moved: Callable[[Tensor, str], Tensor],
) -> FramedPicture:
    """The same; ``moved`` makes of its colours (N, 3), and of the words, other ones."""
    wish = Drawing(settings.candidates, settings.guidance_scale, settings.start, settings.steps)
    for picture in priors.draw(prompt, wish, generator):
        flat = without_grain(picture.cpu())
        with suppress(UserError):  # it shows nothing
            opaque = torch.cat([flat, torch.ones_like(flat[..., :1])], dim=-1)
            cut = firm(estimators.cut_out(opaque), settings.rim)
            shown = cut[..., 3] > 0
            cut[shown, :3] = moved(cut[shown, :3], prompt)
            return frame(cut, priors.picture_size)
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
    priors: Priors,
    prompt: str,
    mesh: Mesh,
    settings: ReferenceSettings,
    generator: torch.Generator,
    estimators: Estimators,
) -> Reference:
    """A picture of a given mesh as the words would have it: its own front, in the colours of a picture drawn for them.

    Where the preset says so, that is noised and drawn anew, within the mesh's outline. Mask, depth and normals are the
    mesh's own.

    Args:
        mesh: at the size :func:`fit_mesh` gives it.

    Raises:
        UserError: no picture drawn for the words shows an object.
    """
    drawn = _drawn(priors, prompt, settings, generator, estimators, priors.palette)
    if mesh.texture is not None:
        mesh = replace(mesh, texture=for_renders(mesh.texture, priors.picture_size))
    views = render_mesh(mesh, Cameras.at(0.0).to(mesh.vertices.device), priors.picture_size)
    inside = views.mask[..., 0] > 0.5
    rgb = views.rgb.clone()
    rgb[inside] = with_palette(rgb[inside], drawn.rgb[drawn.mask[..., 0] > 0.5].to(rgb))
    if settings.redrawn:
        wish = Drawing(1, settings.guidance_scale, settings.redrawn, settings.steps)
        rgb = _reaching(priors.redraw(rgb, prompt, wish, generator), views.mask)
    near, far = views.depth[inside[..., None]].aminmax()
    depth = ((views.depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1) * inside[..., None]
    normal = F.normalize(views.normal, dim=-1, eps=1e-3)
    return Reference(prompt, rgb * views.mask + 1 - views.mask, views.mask, depth, normal)


def _reaching(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture (1, S, S, 3) whose object fills a mask (1, S, S, 1): where it falls short, its nearest colours go on."""
    drawn = binary_erosion(outlines(picture)[0, ..., 0].cpu().numpy() > 0.5, iterations=EDGE)
    if not drawn.any():
        return picture
    rows, columns = distance_transform_edt(~drawn, return_distances=False, return_indices=True)
    return torch.where(mask > 0, picture[:, rows, columns], picture)


def in_colours_of(mesh: Mesh, reference: Reference) -> Mesh:
    """A given mesh whose texture, or vertices' colours, or grey, are moved to the palette of the reference."""
    if mesh.texture is not None:
        _, seen = sampled_colours(mesh)
        move = palette_map(seen, reference.albedo())
        return replace(mesh, texture=move(mesh.texture.reshape(-1, 3)).reshape(mesh.texture.shape))
    colours = torch.full_like(mesh.vertices, GREY) if mesh.colours is None else mesh.colours
    return Mesh(mesh.vertices, mesh.faces, with_palette(colours, reference.albedo()))
