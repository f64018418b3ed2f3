"""Albedo in space, for surfaces whose shape is held elsewhere: the geometry and texture stages' colours."""

from __future__ import annotations

from collections.abc import Callable

import torch
import trimesh
from scipy.spatial import cKDTree
from torch import Tensor, nn
from trimesh.triangles import points_to_barycentric

from dreamcraft3d.render.texture import sample_texture
from dreamcraft3d.shape.encoding import DenseGrid, HashEncoding
from dreamcraft3d.shape.mesh import Mesh

Albedo = Callable[[Tensor], Tensor]
GREY = 0.7  # of a mesh without colours
SAMPLES = 200_000


class DenseColour(nn.Module):
    """Colour logits on a lattice over the cube of ``half_extent``, with ``resolution`` nodes a side."""

    def __init__(self, resolution: int, half_extent: float) -> None:
        super().__init__()
        self.grid = DenseGrid(3, resolution, half_extent)

    @torch.no_grad()
    def imitate(self, albedo: Albedo) -> DenseColour:
        """Take the colours of another albedo, points (N, 3) to (N, 3) in [0, 1], at every node."""
        resolution = self.grid.values.shape[-1]
        line = torch.linspace(-self.grid.half_extent, self.grid.half_extent, resolution)
        nodes = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)
        device = self.grid.values.device
        colours = torch.cat([albedo(chunk.to(device)) for chunk in nodes.split(1 << 17)])
        self.grid.values.copy_(torch.logit(colours, eps=0.01).T.reshape(3, resolution, resolution, resolution))
        return self

    def forward(self, points: Tensor) -> Tensor:
        """(N, 3) albedo in [0, 1] at points (N, 3)."""
        return torch.sigmoid(self.grid(points))

    def smoothness(self) -> Tensor:
        """A scalar penalty on differences between neighbouring nodes."""
        return self.grid.total_variation()


class HashColour(nn.Module):
    """The paper's colours: a hash grid and one small network.

    Args:
        encoding: over the same cube as the shape.
        network: (N, encoding.width) to (N, 3) logits.
    """

    def __init__(self, encoding: HashEncoding, network: nn.Module) -> None:
        super().__init__()
        self.encoding = encoding
        self.network = network

    def forward(self, points: Tensor) -> Tensor:
        """(N, 3) albedo in [0, 1] at points (N, 3)."""
        return torch.sigmoid(self.network(self.encoding(points)))

    def smoothness(self) -> Tensor:
        """Zero: the hash grid's own resolution limits it."""
        return torch.zeros((), device=self.encoding.table.device)


def nearest_colours(mesh: Mesh) -> Albedo:
    """The colours of a mesh, or grey, as an albedo in space: each point takes those of the nearest place on the surface."""
    places, colours = sampled_colours(mesh)
    tree = cKDTree(places.cpu().numpy())

    def albedo(points: Tensor) -> Tensor:
        _, index = tree.query(points.detach().cpu().numpy(), workers=-1)
        return colours[torch.from_numpy(index).to(colours.device)]

    return albedo


def sampled_colours(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Places on a surface (N, 3) and their colours (N, 3): of its texture, its vertices, or grey.

    They are ``SAMPLES`` random points, evenly spread, beside the vertices: triangles may be large.
    """
    device = mesh.vertices.device
    body = trimesh.Trimesh(mesh.vertices.cpu().numpy(), mesh.faces.cpu().numpy(), process=False)
    points, faces = trimesh.sample.sample_surface(body, SAMPLES, seed=0)
    weights = torch.from_numpy(points_to_barycentric(body.triangles[faces], points)).to(device, torch.float32)[
        ..., None
    ]
    places, face = torch.from_numpy(points).to(mesh.vertices), torch.from_numpy(faces).to(device)
    if mesh.uv is not None and mesh.texture is not None:
        uv = torch.cat([mesh.uv, (weights * mesh.uv.reshape(-1, 3, 2)[face]).sum(dim=1)])
        return torch.cat([mesh.vertices[mesh.faces.reshape(-1)], places]), sample_texture(mesh.texture, uv)
    colours = torch.full_like(mesh.vertices, GREY) if mesh.colours is None else mesh.colours
    sampled = (weights * colours[mesh.faces[face]]).sum(dim=1)
    return torch.cat([mesh.vertices, places]), torch.cat([colours, sampled]).clamp(0, 1)
