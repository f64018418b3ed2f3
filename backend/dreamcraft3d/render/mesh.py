"""Shaded pictures of a mesh, differentiable in its vertices and in the colours of its surface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.kernels.antialias import Topology
from dreamcraft3d.kernels.antialias import antialias as antialias_silhouettes
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.raster import Fragments, gather, rasterize
from dreamcraft3d.render.shading import light
from dreamcraft3d.render.texture import sample_texture
from dreamcraft3d.shape.colour import GREY
from dreamcraft3d.shape.mesh import Mesh


@dataclass(frozen=True)
class MeshViews:
    """Pictures of a mesh, each (B, size, size, C).

    Attributes:
        rgb: shaded colour over the background, [0, 1]; antialiased.
        albedo: unshaded colour, 0 outside; not antialiased.
        mask: coverage, [0, 1]; antialiased.
        normal: world normals turned toward the camera, 0 outside; antialiased, so shorter than 1 on silhouettes.
        depth: distance along the camera's axis minus the camera's distance (0 at the origin, far = large), 0 outside;
            not antialiased.
    """

    rgb: Tensor
    albedo: Tensor
    mask: Tensor
    normal: Tensor
    depth: Tensor


def render_mesh(
    mesh: Mesh,
    cameras: Cameras,
    size: int,
    albedo: Callable[[Tensor], Tensor] | None = None,
    part: Tensor | None = None,
    background: Tensor | float = 1.0,
    antialias: bool = True,
    topology: Topology | None = None,
) -> MeshViews:
    """Render a mesh, smooth-shaded, every face seen from both sides. Only covered pixels are shaded.

    Args:
        mesh: with 0 faces, the pictures show the background.
        cameras: B cameras, on the mesh's device.
        size: width and height of the pictures.
        albedo: (P, 3) world points on the surface to (P, 3) colours; None for the mesh's texture or colours, grey without.
        part: (H, W, 1) in [0, 1], where in the mesh's UV map those colours are seen, and not its texture; None for
            everywhere.
        background: a grey, or anything that broadcasts to (B, size, size, 3).
        antialias: whether silhouettes are smoothed. Only then have rgb, mask and normal gradients where surfaces end.
        topology: of the mesh's faces, to save building it anew where they stay the same.
    """
    clip = cameras.clip(mesh.vertices)
    fragments = rasterize(clip, mesh.faces, size, size)
    attributes = [mesh.vertices, vertex_normals(mesh.vertices, mesh.faces)]
    textured = mesh.texture is not None and (albedo is None or part is not None)
    if albedo is None and not textured:
        attributes.append(torch.full_like(mesh.vertices, GREY) if mesh.colours is None else mesh.colours)
    point, normal, *colours = fragments.interpolate(torch.cat(attributes, dim=-1)).split(3, dim=-1)
    if textured:
        colour = _own_colours(mesh, fragments, point, albedo, part)
    else:
        colour = colours[0] if albedo is None else albedo(point)

    normal = F.normalize(torch.where(fragments.front[:, None], normal, -normal), dim=-1)
    centre = cameras.position.to(point).index_select(0, fragments.views)
    depth = -(point * centre).sum(dim=-1, keepdim=True) / cameras.distance
    shaded = colour * light(normal, F.normalize(centre - point, dim=-1))

    smooth = fragments.scatter(torch.cat([shaded, torch.ones_like(depth), normal], dim=-1))
    if antialias:
        topology = Topology.build(mesh.faces) if topology is None else topology
        smooth = antialias_silhouettes(smooth, fragments.ids, fragments.depth, clip, topology)
    rgb, mask, normals = smooth.split([3, 1, 3], dim=-1)
    # a pixel with silhouettes on many sides may be blended past either end
    mask = mask.clamp(0, 1)
    return MeshViews(
        rgb=(rgb + (1 - mask) * background).clamp(0, 1),
        albedo=fragments.scatter(colour),
        mask=mask,
        normal=normals,
        depth=fragments.scatter(depth),
    )


def _own_colours(
    mesh: Mesh, fragments: Fragments, point: Tensor, albedo: Callable[[Tensor], Tensor] | None, part: Tensor | None
) -> Tensor:
    """The texture's colours (P, 3), or in a part of it those of ``albedo``."""
    assert mesh.uv is not None
    assert mesh.texture is not None
    uv = fragments.interpolate_corners(mesh.uv).detach()
    colour = sample_texture(mesh.texture, uv)
    return colour if albedo is None or part is None else torch.lerp(colour, albedo(point), sample_texture(part, uv))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals: of the faces (F, 3) around each vertex, the mean weighted by area; 0 at a lone vertex."""
    a, b, c = gather(vertices, faces).unbind(dim=1)
    doubled_area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), doubled_area.repeat_interleave(3, dim=0))
    return F.normalize(total, dim=-1, eps=1e-20)
