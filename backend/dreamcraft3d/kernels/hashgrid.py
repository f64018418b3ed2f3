"""Multiresolution hash-grid encoding of points (Müller et al., "Instant Neural Graphics Primitives", 2022).

Levels, table layout and hash follow tiny-cuda-nn, so that a table trained with either encoder works in the other. One
thread handles one point on one level. Each level owns its part of the table, so on the CPU the levels are shared out
over torch's threads and the result does not depend on their number; on CUDA the table's gradient uses atomic adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import warp as wp
from torch import Tensor
from torch.autograd.function import once_differentiable

from dreamcraft3d.kernels import launch_device

PRIME_Y = 2654435761
PRIME_Z = 805459861
_PRIME_Y = wp.constant(wp.uint32(PRIME_Y))
_PRIME_Z = wp.constant(wp.uint32(PRIME_Z))
# below this many (point, level) pairs, starting threads costs more than they save
_WORTH_THREADS = 1 << 16


@dataclass(frozen=True)
class HashGridSpec:
    """Shape of a hash grid; the defaults are DreamCraft3D's.

    Attributes:
        levels: number of resolutions L.
        features: numbers F stored at each grid vertex.
        log2_size: a level holds at most 2**log2_size vertices; finer ones are hashed.
        base: vertices along an edge of the coarsest level.
        per_level_scale: growth from one level to the next.
    """

    levels: int = 16
    features: int = 2
    log2_size: int = 19
    base: int = 16
    per_level_scale: float = 1.44727

    @cached_property
    def scales(self) -> tuple[float, ...]:
        """Cells along an edge of each level, ``base * per_level_scale**level - 1``, rounded to float32 as
        tiny-cuda-nn does (a rounding apart, the same number would give another resolution)."""
        growth = np.float32(math.log2(np.float32(self.per_level_scale)))
        factors = [np.float32(2.0 ** float(np.float32(level) * growth)) for level in range(self.levels)]
        return tuple(float(factor * np.float32(self.base) - np.float32(1)) for factor in factors)

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Vertices along an edge of each level, ``ceil(scale) + 1``: 16, 24, 34, 49, 71, ... by default."""
        return tuple(math.ceil(scale) + 1 for scale in self.scales)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First table row of each level, and the number of rows T at the end: L + 1 numbers."""
        offsets = [0]
        for resolution in self.resolutions:
            offsets.append(offsets[-1] + min((resolution**3 + 7) // 8 * 8, 1 << self.log2_size))
        return tuple(offsets)

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether each level stores every vertex; the others are hashed."""
        levels = zip(self.resolutions, pairwise(self.offsets), strict=True)
        return tuple(r**3 <= stop - start for r, (start, stop) in levels)

    @property
    def rows(self) -> int:
        """Number of table rows T."""
        return self.offsets[-1]

    @property
    def width(self) -> int:
        """Numbers in an encoded point, L * F."""
        return self.levels * self.features


@wp.struct
class _Levels:
    """The specification as the kernels read it, an entry a level; ``stride`` is the resolution, 0 where hashed."""

    scale: wp.array(dtype=wp.float32)  # type: ignore[valid-type]
    stride: wp.array(dtype=wp.int32)  # type: ignore[valid-type]
    start: wp.array(dtype=wp.int32)  # type: ignore[valid-type]
    size: wp.array(dtype=wp.int32)  # type: ignore[valid-type]


@wp.func
def _row(cell: wp.vec3, corner: int, stride: int, size: int) -> int:
    # The half-cell offset carries the last vertices of a dense level into the next row, as in tiny-cuda-nn. The modulo
    # also keeps points outside the unit cube, and NaN, inside the table.
    x = wp.uint32(int(cell[0]) + (corner & 1))
    y = wp.uint32(int(cell[1]) + ((corner >> 1) & 1))
    z = wp.uint32(int(cell[2]) + (corner >> 2))
    index = x + wp.uint32(stride) * (y + wp.uint32(stride) * z)
    if stride == 0:
        index = x ^ (y * _PRIME_Y) ^ (z * _PRIME_Z)
    return int(index % wp.uint32(size))


@wp.func
def _weights(fraction: wp.vec3, corner: int) -> wp.vec3:
    return wp.vec3(
        wp.where((corner & 1) == 1, fraction[0], 1.0 - fraction[0]),
        wp.where(((corner >> 1) & 1) == 1, fraction[1], 1.0 - fraction[1]),
        wp.where((corner >> 2) == 1, fraction[2], 1.0 - fraction[2]),
    )


@wp.func
def _cell(position: wp.vec3) -> wp.vec3:
    return wp.vec3(wp.floor(position[0]), wp.floor(position[1]), wp.floor(position[2]))


@wp.kernel(enable_backward=False)
def _encode(
    first: int,
    levels: _Levels,
    points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    table: wp.array(dtype=Any),  # type: ignore[valid-type]
    encoded: wp.array2d(dtype=Any),  # type: ignore[valid-type]
) -> None:
    offset, point = wp.tid()  # type: ignore[misc]
    level = first + offset
    position = points[point] * levels.scale[level] + wp.vec3(0.5, 0.5, 0.5)
    cell = _cell(position)
    total = table.dtype(0.0)
    for corner in range(8):
        w = _weights(position - cell, corner)
        row = levels.start[level] + _row(cell, corner, levels.stride[level], levels.size[level])
        total += table[row] * (w[0] * w[1] * w[2])
    encoded[point, level] = total


@wp.kernel(enable_backward=False)
def _backward_table(
    first: int,
    levels: _Levels,
    points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    gradient: wp.array2d(dtype=Any),  # type: ignore[valid-type]
    table_gradient: wp.array(dtype=Any),  # type: ignore[valid-type]
) -> None:
    offset, point = wp.tid()  # type: ignore[misc]
    level = first + offset
    position = points[point] * levels.scale[level] + wp.vec3(0.5, 0.5, 0.5)
    cell = _cell(position)
    g = gradient[point, level]
    for corner in range(8):
        w = _weights(position - cell, corner)
        row = levels.start[level] + _row(cell, corner, levels.stride[level], levels.size[level])
        wp.atomic_add(table_gradient, row, g * (w[0] * w[1] * w[2]))


@wp.kernel(enable_backward=False)
def _backward_points(
    first: int,
    levels: _Levels,
    points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    table: wp.array(dtype=Any),  # type: ignore[valid-type]
    gradient: wp.array2d(dtype=Any),  # type: ignore[valid-type]
    level_gradients: wp.array2d(dtype=wp.vec3),  # type: ignore[valid-type]
) -> None:
    offset, point = wp.tid()  # type: ignore[misc]
    level = first + offset
    position = points[point] * levels.scale[level] + wp.vec3(0.5, 0.5, 0.5)
    cell = _cell(position)
    g = gradient[point, level]
    total = wp.vec3(0.0, 0.0, 0.0)
    for corner in range(8):
        w = _weights(position - cell, corner)
        row = levels.start[level] + _row(cell, corner, levels.stride[level], levels.size[level])
        along_g = wp.dot(table[row], g)
        total += wp.vec3(
            wp.where((corner & 1) == 1, along_g, -along_g) * w[1] * w[2],
            wp.where(((corner >> 1) & 1) == 1, along_g, -along_g) * w[0] * w[2],
            wp.where((corner >> 2) == 1, along_g, -along_g) * w[0] * w[1],
        )
    level_gradients[level, point] = total * levels.scale[level]


@lru_cache(maxsize=16)
def _level_constants(spec: HashGridSpec, device: str) -> Any:
    levels = _Levels()
    levels.scale = wp.array(spec.scales, dtype=wp.float32, device=device)
    strides = [r if dense else 0 for r, dense in zip(spec.resolutions, spec.dense, strict=True)]
    levels.stride = wp.array(strides, dtype=wp.int32, device=device)
    levels.start = wp.array(spec.offsets[:-1], dtype=wp.int32, device=device)
    levels.size = wp.array([stop - start for start, stop in pairwise(spec.offsets)], dtype=wp.int32, device=device)
    return levels


class _Kernels(NamedTuple):
    row: Any
    encode: Any
    backward_table: Any
    backward_points: Any


@lru_cache(maxsize=16)
def _kernels(features: int) -> _Kernels:
    """The kernels for tables of that many features; asked for together, they are compiled together."""
    row = wp.types.vector(length=features, dtype=wp.float32)
    table, encoded = wp.array(dtype=row), wp.array2d(dtype=row)
    return _Kernels(
        row,
        wp.overload(_encode, {"table": table, "encoded": encoded}),
        wp.overload(_backward_table, {"gradient": encoded, "table_gradient": table}),
        wp.overload(_backward_points, {"table": table, "gradient": encoded}),
    )


def _launch(kernel: Any, spec: HashGridSpec, active: int, points: Tensor, arrays: Sequence[Any]) -> None:
    """Run a kernel over (level, point) for the first ``active`` levels."""
    if active == 0 or len(points) == 0:
        return
    device = launch_device(points.device)
    constants = _level_constants(spec, device)
    positions = wp.from_torch(points, dtype=wp.vec3)

    def run(first: int, count: int) -> None:
        inputs = [first, constants, positions, *arrays]
        wp.launch(kernel, dim=(count, len(points)), inputs=inputs, device=device)

    threads = min(torch.get_num_threads(), active - 1)
    if points.device.type != "cpu" or threads < 2 or len(points) * active < _WORTH_THREADS:
        run(0, active)
        return
    run(0, 1)  # compiles the kernel, if need be, before several threads ask for it
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda level: run(level, 1), range(1, active)))


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, spec: HashGridSpec, active: int) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.spec, ctx.active = spec, active
        points, table = points.detach(), table.detach()
        fresh = torch.empty if active == spec.levels else torch.zeros
        encoded = fresh((len(points), spec.levels, spec.features), device=points.device)
        kernels = _kernels(spec.features)
        arrays = [wp.from_torch(table, dtype=kernels.row), wp.from_torch(encoded, dtype=kernels.row)]
        _launch(kernels.encode, spec, active, points, arrays)
        return encoded.reshape(len(points), spec.width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        points, table = (tensor.detach() for tensor in ctx.saved_tensors)
        spec: HashGridSpec = ctx.spec
        kernels = _kernels(spec.features)
        by_row = gradient.contiguous().reshape(len(points), spec.levels, spec.features)
        encoded_gradient = wp.from_torch(by_row, dtype=kernels.row)
        point_gradient = table_gradient = None
        if ctx.needs_input_grad[0]:
            by_level = torch.empty((ctx.active, len(points), 3), device=points.device)
            table_rows = wp.from_torch(table, dtype=kernels.row)
            arrays = [table_rows, encoded_gradient, wp.from_torch(by_level, dtype=wp.vec3)]
            _launch(kernels.backward_points, spec, ctx.active, points, arrays)
            point_gradient = by_level.sum(dim=0)
        if ctx.needs_input_grad[1]:
            table_gradient = torch.zeros_like(table)
            arrays = [encoded_gradient, wp.from_torch(table_gradient, dtype=kernels.row)]
            _launch(kernels.backward_table, spec, ctx.active, points, arrays)
        return point_gradient, table_gradient, None, None


def hash_encode(points: Tensor, table: Tensor, spec: HashGridSpec, active_levels: int | None = None) -> Tensor:
    """Encode points by trilinear interpolation on every level of a hash grid.

    Differentiable once in the points and in the table; asking for second derivatives raises.

    Args:
        points: (N, 3) positions in [0, 1], float32. Outside, the value is meaningless, but memory is safe.
        table: (T, F) float32 features, ``T = spec.rows``, levels one after the other.
        spec: shape of the grid.
        active_levels: how many levels to evaluate, the coarsest first (all by default); the features of the others
            are 0, and so are their gradients.

    Returns:
        (N, L * F) float32, the features of the coarsest level first.

    Raises:
        ValueError: where a shape does not fit the specification.
    """
    active = spec.levels if active_levels is None else active_levels
    if table.shape != (spec.rows, spec.features):
        raise ValueError(f"a table of {(spec.rows, spec.features)} is needed, not {tuple(table.shape)}")
    if points.dim() != 2 or points.shape[1] != 3:
        raise ValueError(f"points must be (N, 3), not {tuple(points.shape)}")
    if not 0 <= active <= spec.levels:
        raise ValueError(f"active_levels must lie in 0..{spec.levels}, not {active}")
    encoded: Tensor = _HashEncode.apply(points.float().contiguous(), table.float().contiguous(), spec, active)
    return encoded
