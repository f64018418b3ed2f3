"""From points in the world to features: a multiresolution hash grid, and a plain dense grid.

Both fill a cube about the origin; points outside it are given the value at the nearest point of its surface.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dreamcraft3d.kernels.hashgrid import HashGridSpec, hash_encode


@dataclass(frozen=True)
class ProgressiveBand:
    """Coarse levels first: ``start_level`` levels until ``start_step``, then one more every ``steps_per_level``.

    The defaults are DreamCraft3D's for its NeRF stage: 8 levels until step 2000, all 16 from step 6000.
    """

    start_level: int = 8
    start_step: int = 2000
    steps_per_level: int = 500

    def active_levels(self, step: int, levels: int) -> int:
        """How many of ``levels`` are active at a training step."""
        return min(self.start_level + max(step - self.start_step, 0) // self.steps_per_level, levels)


class HashEncoding(nn.Module):
    """Multiresolution hash grid over the cube [-half_extent, half_extent]^3.

    On CUDA, tiny-cuda-nn evaluates it where that is installed, on the same table and to the same values; everywhere
    else our own kernels do. Differentiable once in the points and in the table.

    Attributes:
        table: (T, F) parameter, drawn uniformly from [-1e-4, 1e-4], alike every time without a generator; its layout
            is tiny-cuda-nn's.
        active_levels: levels evaluated, the coarsest first; the features of the others are 0. Not part of the state:
            it follows from the training step, see ``mask_levels``.
    """

    def __init__(
        self,
        half_extent: float,
        spec: HashGridSpec | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.half_extent = half_extent
        self.spec = spec or HashGridSpec()
        self.active_levels = self.spec.levels
        generator = generator or torch.Generator().manual_seed(0)
        table = torch.empty(self.spec.rows, self.spec.features)
        self.table = nn.Parameter(table.uniform_(-1e-4, 1e-4, generator=generator))
        # in a list, so that its own table is not taken for one of our parameters
        self._tiny_cuda_nn: list[nn.Module] = []

    @property
    def width(self) -> int:
        """Number of features of a point, L * F."""
        return self.spec.width

    def mask_levels(self, step: int, band: ProgressiveBand) -> None:
        """Set ``active_levels`` for a training step."""
        self.active_levels = band.active_levels(step, self.spec.levels)

    def forward(self, points: Tensor) -> Tensor:
        """Features (N, L * F) of points (N, 3) in world coordinates."""
        unit = (points / (2 * self.half_extent) + 0.5).clamp(0, 1)
        if not (self.table.is_cuda and importlib.util.find_spec("tinycudann")):
            return hash_encode(unit, self.table, self.spec, self.active_levels)
        if not self._tiny_cuda_nn:
            self._tiny_cuda_nn.append(tiny_cuda_nn_encoding(self.spec))
        parameters = {"params": self.table.reshape(-1)}
        encoded: Tensor = torch.func.functional_call(self._tiny_cuda_nn[0], parameters, (unit,))
        level = torch.arange(self.width, device=unit.device) // self.spec.features
        return encoded * (level < self.active_levels)


def tiny_cuda_nn_encoding(spec: HashGridSpec) -> nn.Module:
    """tiny-cuda-nn's encoding of the same specification, in float32.

    Its parameter ``params`` is our table, flattened. Imported here, for the import itself fails without a GPU.
    """
    encoding: nn.Module = importlib.import_module("tinycudann").Encoding(
        n_input_dims=3,
        encoding_config={
            "otype": "HashGrid",
            "n_levels": spec.levels,
            "n_features_per_level": spec.features,
            "log2_hashmap_size": spec.log2_size,
            "base_resolution": spec.base,
            "per_level_scale": spec.per_level_scale,
        },
        dtype=torch.float32,
    )
    return encoding


class DenseGrid(nn.Module):
    """A dense grid of features over the cube [-half_extent, half_extent]^3, interpolated trilinearly.

    Attributes:
        values: (C, R, R, R) parameter, indexed [channel, x, y, z]; its outermost values lie on the cube's faces.
    """

    def __init__(self, channels: int, resolution: int, half_extent: float, initial: float = 0.0) -> None:
        super().__init__()
        self.half_extent = half_extent
        self.values = nn.Parameter(torch.full((channels, resolution, resolution, resolution), initial))

    def forward(self, points: Tensor) -> Tensor:
        """Features (N, C) of points (N, 3) in world coordinates; differentiable in points and values."""
        return sample_lattice(self.values, points, self.half_extent)

    def total_variation(self) -> Tensor:
        """As the function of that name."""
        return total_variation(self.values)


def sample_lattice(values: Tensor, points: Tensor, half_extent: float) -> Tensor:
    """Trilinear samples (N, C) at points (N, 3) of a lattice (C, R, R, R) indexed [x, y, z] over a cube.

    The outermost nodes lie on the cube's faces; points outside take the nearest value inside.
    """
    unit = (points / half_extent).flip(-1).reshape(1, -1, 1, 1, 3)  # grid_sample names the last axis first
    sampled = nn.functional.grid_sample(values[None], unit, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled.reshape(len(values), -1).T


def total_variation(values: Tensor) -> Tensor:
    """Mean squared difference between neighbours of a lattice (C, R, R, R), summed over the three axes; a scalar."""
    return torch.stack([values.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()
