"""Implicit shapes for volume rendering: where there is matter, and of what colour.

A field is an *encoding* of space, dense or hashed, read as one of two *surfaces*: a density (NeRF) or a signed distance
(NeuS, Wang et al., NeurIPS 2021). Points are in world units, in a box of half-extent ``half_extent``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamcraft3d.shape.encoding import HashEncoding, sample_lattice, total_variation

Surface = Literal["density", "sdf"]


@dataclass(frozen=True)
class FieldSamples:
    """What a field says at N points.

    Attributes:
        raw: (N,) density logit (before softplus) or signed distance.
        albedo: (N, 3) in [0, 1].
        normal: (N, 3) outward unit normals.
        slope: (N, 3) gradient of ``raw``, per world unit.
    """

    raw: Tensor
    albedo: Tensor
    normal: Tensor
    slope: Tensor


class Field(nn.Module):
    """Common to all fields: the surface's reading of ``raw``.

    A density's logit is multiplied by nothing and passed through softplus, then by ``DENSITY_SCALE`` per world unit; a
    signed distance becomes opacity by the logistic distribution function of sharpness ``exp(10 v)``, v learnt.
    """

    DENSITY_SCALE = 25.0

    def __init__(self, surface: Surface, half_extent: float) -> None:
        super().__init__()
        self.surface = surface
        self.half_extent = half_extent
        self.sharpness = nn.Parameter(torch.tensor(0.3), requires_grad=surface == "sdf")
        self.cosine_anneal = 1.0

    def query(self, points: Tensor) -> FieldSamples:
        raise NotImplementedError

    def geometry(self, points: Tensor) -> Tensor:
        """``raw`` alone at points (N, 3), (N,)."""
        raise NotImplementedError

    def albedo(self, points: Tensor) -> Tensor:
        """(N, 3) colours in [0, 1] at points (N, 3)."""
        raise NotImplementedError

    def roughness(self) -> tuple[Tensor, Tensor]:
        """Two scalars, how rough geometry and colour are."""
        raise NotImplementedError

    @property
    def inverse_deviation(self) -> Tensor:
        """NeuS' inv_s = exp(10 v), clamped to [1e-6, 1e6]."""
        return (10 * self.sharpness).exp().clamp(1e-6, 1e6)

    def alpha(self, samples: FieldSamples, directions: Tensor, dt: Tensor) -> Tensor:
        """Opacity (N,) of intervals of length ``dt`` (N,) along unit ``directions`` (N, 3) around the samples.

        Density: 1 - exp(-sigma dt). Signed distance: NeuS eq. 13 with the section's end points estimated from the
        slope; ``cosine_anneal`` k blends from -relu(0.5 - 0.5 c) to -relu(-c) as training goes on.
        """
        if self.surface == "density":
            return self.opacity(samples.raw, dt)
        cosine = (directions * samples.normal).sum(dim=-1)
        k = self.cosine_anneal
        falling = -(F.relu(0.5 - 0.5 * cosine) * (1 - k) + F.relu(-cosine) * k)
        previous = torch.sigmoid((samples.raw - falling * dt / 2) * self.inverse_deviation)
        following = torch.sigmoid((samples.raw + falling * dt / 2) * self.inverse_deviation)
        return ((previous - following + 1e-5) / (previous + 1e-5)).clamp(0, 1)

    def opacity(self, raw: Tensor, dt: Tensor) -> Tensor:
        """(N,) opacity by ``raw`` alone, whatever the direction: for a signed distance, 1 well inside and else 0."""
        if self.surface == "density":
            return 1 - torch.exp(-F.softplus(raw) * self.DENSITY_SCALE * dt)
        return (raw < -torch.maximum(2 * dt, 6 / self.inverse_deviation)).to(raw)

    @torch.no_grad()
    def occupancy(self, resolution: int, step: float) -> Tensor:
        """(G, G, G) bool: cells in which a ray's step could matter, with a margin of one cell."""
        fine = 2 * resolution
        raw = self.geometry(box_lattice(fine, self.half_extent).to(self.sharpness.device)).reshape(
            1, 1, fine, fine, fine
        )
        if self.surface == "density":
            opaque = self.opacity(raw, torch.full_like(raw, step)) > 0.01
        else:
            opaque = raw.abs() < 2 * self.half_extent / resolution + 4 / self.inverse_deviation
            opaque |= raw < 0
        return F.max_pool3d(F.max_pool3d(opaque.float(), 2), 3, stride=1, padding=1)[0, 0] > 0

    @torch.no_grad()
    def signed_distance(self, points: Tensor) -> Tensor:
        """(N,) negative inside; for a density, its logit's distance to the surface level, to first order."""
        raw = torch.cat([self.geometry(chunk) for chunk in points.split(1 << 18)])
        return raw if self.surface == "sdf" else SURFACE_LOGIT - raw


SURFACE_LOGIT = -1.0
"""The density logit that is taken for the surface."""


def box_lattice(resolution: int, half_extent: float) -> Tensor:
    """Cell centres (resolution**3, 3) of a box, x slowest."""
    line = ((torch.arange(resolution) + 0.5) / resolution * 2 - 1) * half_extent
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)


class DenseField(Field):
    """Lattices of geometry and colour logits: at 64 px on a CPU, cheaper than a hash grid and as good.

    Args:
        resolution: nodes along each side.
    """

    def __init__(self, surface: Surface, half_extent: float, resolution: int) -> None:
        super().__init__(surface, half_extent)
        line = torch.linspace(-half_extent, half_extent, resolution)
        radius = torch.stack(torch.meshgrid(line, line, line, indexing="ij")).norm(dim=0)
        start = 10 * (1 - radius / 0.5) if surface == "density" else radius - 0.5
        self.shape = nn.Parameter(start[None])
        self.colour = nn.Parameter(torch.zeros(3, resolution, resolution, resolution))

    def nodes(self) -> Tensor:
        """(R**3, 3) places of the lattice's nodes, x slowest."""
        line = torch.linspace(-self.half_extent, self.half_extent, self.shape.shape[-1], device=self.shape.device)
        return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)

    @property
    def spacing(self) -> float:
        """World units between neighbouring nodes."""
        return 2 * self.half_extent / (self.shape.shape[-1] - 1)

    def query(self, points: Tensor) -> FieldSamples:
        found = sample_lattice(torch.cat([self.shape, self.colour, self._slopes()]), points, self.half_extent)
        slope = found[:, 4:]
        outward = slope if self.surface == "sdf" else -slope
        return FieldSamples(found[:, 0], torch.sigmoid(found[:, 1:4]), F.normalize(outward, dim=-1, eps=1e-4), slope)

    def geometry(self, points: Tensor) -> Tensor:
        return sample_lattice(self.shape, points, self.half_extent)[:, 0]

    def albedo(self, points: Tensor) -> Tensor:
        return torch.sigmoid(sample_lattice(self.colour, points, self.half_extent))

    def _slopes(self) -> Tensor:
        padded = F.pad(self.shape[None], (1,) * 6, mode="replicate")[0, 0]
        centre = slice(1, -1)
        return torch.stack(
            [
                padded[2:, centre, centre] - padded[:-2, centre, centre],
                padded[centre, 2:, centre] - padded[centre, :-2, centre],
                padded[centre, centre, 2:] - padded[centre, centre, :-2],
            ]
        ) / (2 * self.spacing)

    def roughness(self) -> tuple[Tensor, Tensor]:
        return total_variation(self.shape), total_variation(self.colour)


class HashField(Field):
    """The paper's field: a multiresolution hash grid and two small networks, for geometry and for colour.

    Normals are forward differences of step 0.01 (paper). A density starts as a blob, 10 (1 - |x| / 0.5); a signed
    distance as a sphere of radius 0.5.
    """

    DIFFERENCE = 0.01

    def __init__(self, surface: Surface, half_extent: float, encoding: HashEncoding, hidden: int = 64) -> None:
        super().__init__(surface, half_extent)
        self.encoding = encoding
        with torch.random.fork_rng():  # torch draws from the global generator; every run shall begin alike
            torch.manual_seed(0)
            self.shape_network = _network(encoding.width, hidden, 1)
            self.colour_network = _network(encoding.width, hidden, 3)

    def _bias(self, points: Tensor) -> Tensor:
        radius = points.norm(dim=-1)
        return 10 * (1 - radius / 0.5) if self.surface == "density" else radius - 0.5

    def geometry(self, points: Tensor) -> Tensor:
        return self.shape_network(self.encoding(points))[:, 0] + self._bias(points)

    def albedo(self, points: Tensor) -> Tensor:
        return torch.sigmoid(self.colour_network(self.encoding(points)))

    def query(self, points: Tensor) -> FieldSamples:
        features = self.encoding(points)
        raw = self.shape_network(features)[:, 0] + self._bias(points)
        offsets = self.DIFFERENCE * torch.eye(3, device=points.device)
        beside = self.geometry((points[:, None] + offsets).reshape(-1, 3)).reshape(-1, 3)
        slope = (beside - raw[:, None]) / self.DIFFERENCE
        outward = slope if self.surface == "sdf" else -slope
        albedo = torch.sigmoid(self.colour_network(features))
        return FieldSamples(raw, albedo, F.normalize(outward, dim=-1, eps=1e-4), slope)

    def roughness(self) -> tuple[Tensor, Tensor]:
        nothing = torch.zeros((), device=self.sharpness.device)  # the hash grid's own resolution limits it
        return nothing, nothing


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, outputs, bias=False))
