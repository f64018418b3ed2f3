"""Flat-shaded pictures of triangle soups, antialiased by supersampling: ground truth for training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.raster import rasterize
from dreamcraft3d.render.shading import light
from dreamcraft3d.shape.mesh import Mesh


@dataclass(frozen=True)
class Views:
    """Pictures of an object, each (B, size, size, C).

    Attributes:
        rgb: shaded colour on white, [0, 1].
        mask: coverage, [0, 1].
        normal: unit world normals, 0 outside.
        depth: distance along the camera's axis minus the camera's distance (0 at the origin, far = large), 0 outside.
    """

    rgb: Tensor
    mask: Tensor
    normal: Tensor
    depth: Tensor


@torch.no_grad()
def render_views(mesh: Mesh, cameras: Cameras, size: int, supersample: int = 2) -> Views:
    """Render a mesh with vertex colours (grey without), one normal a face, every face seen from both sides."""
    fine = size * supersample
    clip = cameras.clip(mesh.vertices)
    fragments = rasterize(clip, mesh.faces, fine, fine)
    corners = mesh.vertices[mesh.faces]
    face_normals = F.normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1)
    ids = fragments.ids.reshape(-1)[fragments.pixels].long()
    normal = face_normals[ids]
    point = fragments.interpolate(mesh.vertices)
    centre = cameras.position.to(point)[fragments.views]
    toward = F.normalize(centre - point, dim=-1)
    normal = normal * torch.where((normal * toward).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    colours = mesh.colours if mesh.colours is not None else torch.full_like(mesh.vertices, 0.7)
    rgb = fragments.interpolate(colours) * light(normal, toward)
    axis = F.normalize(centre, dim=-1)
    depth = -(point * axis).sum(-1, keepdim=True)
    values = torch.cat([rgb, torch.ones_like(depth), normal, depth], dim=-1)
    background = torch.tensor([1.0, 1.0, 1.0, 0, 0, 0, 0, 0])
    picture = fragments.scatter(values, background).permute(0, 3, 1, 2)
    picture = F.avg_pool2d(picture, supersample).permute(0, 2, 3, 1)
    mask = picture[..., 3:4]
    inside = mask.clamp(min=1e-6)
    return Views(
        picture[..., :3].clamp(0, 1),
        mask,
        F.normalize(picture[..., 4:7], dim=-1) * (mask > 0),
        picture[..., 7:] / inside * (mask > 0),
    )
