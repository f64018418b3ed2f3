"""Measures how much memory the renders of each stage take, gradients included, on small pictures and grids.

What grows: a volume's renders with their rays times the samples along one, and with their rays; a mesh's with their
pixels and with its faces; the tetrahedra with their cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import trimesh

from dreamcraft3d.kernels.hashgrid import HashGridSpec
from dreamcraft3d.plan.measure import PeakMemory
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.volume import render_volume
from dreamcraft3d.shape.colour import DenseColour
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.encoding import HashEncoding
from dreamcraft3d.shape.field import HashField
from dreamcraft3d.shape.mesh import Mesh

HALF_EXTENT = 0.8
RADIUS = 0.5


@dataclass(frozen=True)
class Scene:
    """Something rendered: its peak in bytes and what the law is linear in, both of two numbers that make its size."""

    peak: Callable[[int, int], int]
    features: Callable[[int, int], list[float]]
    sizes: tuple[tuple[int, int], ...]


def volume_peak(pixels: int, samples: int) -> int:
    """Of one view of a hash grid's field at its start, ``pixels`` a side, ``samples`` along the box's diagonal."""
    field = HashField("density", HALF_EXTENT, HashEncoding(HALF_EXTENT, HashGridSpec(log2_size=8)))
    step = 2 * HALF_EXTENT * 3**0.5 / samples
    occupancy = field.occupancy(32, step)
    with PeakMemory(field) as memory:
        views = render_volume(field, Cameras.at(0.0), pixels, occupancy, step)
        (views.rgb.square().mean() + views.normal.square().mean() + views.depth.square().mean()).backward()
    return memory.peak


def mesh_peak(pixels: int, subdivisions: int) -> int:
    """Of one view of a sphere with 20 * 4**subdivisions faces, coloured by a lattice."""
    sphere = trimesh.creation.icosphere(subdivisions, RADIUS)
    vertices = torch.tensor(sphere.vertices, dtype=torch.float32).requires_grad_()
    colour = DenseColour(4, HALF_EXTENT)
    with PeakMemory(colour) as memory:
        mesh = Mesh(vertices, torch.tensor(sphere.faces, dtype=torch.int64))
        views = render_mesh(mesh, Cameras.at(0.0), pixels, albedo=colour)
        (views.rgb.square().mean() + views.normal.square().mean() + views.depth.square().mean()).backward()
    return memory.peak


def tetrahedra_peak(resolution: int, _: int) -> int:
    """Of extracting a sphere from a grid that fills its box, ``resolution`` cells a side."""
    box = torch.tensor([[-HALF_EXTENT] * 3, [HALF_EXTENT] * 3])
    dmtet = DMTet(resolution, box)
    with torch.no_grad():
        dmtet.sdf.copy_(dmtet.vertices.norm(dim=-1) - RADIUS)
    with PeakMemory(dmtet) as memory:
        dmtet.extract().vertices.square().sum().backward()
    return memory.peak


def faces_of(subdivisions: int) -> int:
    """Of an icosphere."""
    return 20 * 4**subdivisions


SCENES = {
    "volume": Scene(
        volume_peak,
        lambda pixels, samples: [pixels**2 * samples, pixels**2],
        ((16, 128), (16, 512), (24, 64), (24, 256), (32, 128)),
    ),
    "mesh": Scene(
        mesh_peak,
        lambda pixels, subdivisions: [pixels**2, faces_of(subdivisions)],
        ((64, 3), (96, 3), (128, 4), (192, 4)),
    ),
    "tetrahedra": Scene(tetrahedra_peak, lambda cells, _: [cells**3, cells**2], ((16, 0), (20, 0), (24, 0), (32, 0))),
}


def measure_scene(scene: Scene) -> list[float]:
    """The law's coefficients, by least squares of relative errors."""
    measured = np.array([scene.peak(*size) for size in scene.sizes], dtype=float)
    rows = np.array([scene.features(*size) for size in scene.sizes])
    solution, *_ = np.linalg.lstsq(rows / measured[:, None], np.ones(len(measured)), rcond=None)
    return [float(value) for value in solution]
