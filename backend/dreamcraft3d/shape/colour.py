"""Albedo in space, for surfaces whose shape is held elsewhere: the geometry and texture stages' colours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dreamcraft3d.shape.encoding import DenseGrid, HashEncoding

Albedo = Callable[[Tensor], Tensor]


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
