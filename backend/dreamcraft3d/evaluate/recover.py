"""Are the representations real? Each recovers a known object from 24 pictures of it, without any prior.

    python -m dreamcraft3d.evaluate.recover MESH [--output FOLDER]

prints, for a hash-grid NeRF, a hash-grid NeuS and DMTet: seconds, Chamfer distance (in thousandths of the object's larger
front side) and mask IoU over eight views it has not seen; then what twenty steps of DMTet-128 at 512 px cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import trimesh
import typer
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from torch import Tensor

from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.kernels.hashgrid import HashGridSpec
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.pipeline.finish import peak_memory
from dreamcraft3d.render.camera import Cameras, half_height
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.soup import Views, render_views
from dreamcraft3d.render.volume import render_volume
from dreamcraft3d.shape.colour import DenseColour
from dreamcraft3d.shape.dmtet import DMTet, normal_consistency
from dreamcraft3d.shape.encoding import HashEncoding
from dreamcraft3d.shape.field import HashField, Surface
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import load_mesh, normalise

HALF_EXTENT = 0.8
GIVEN = Cameras(torch.arange(24) * 15.0, torch.tensor([0.0, 30.0, -10.0, 60.0]).repeat(6))
UNSEEN = Cameras.ring(8, elevation=20)
SPEC = HashGridSpec(levels=12, features=2, log2_size=15, base=16, per_level_scale=1.3)


@dataclass(frozen=True)
class Recovered:
    """A recovered surface and how long it took."""

    mesh: Mesh
    seconds: float


def recover_field(truth: Views, surface: Surface, steps: int, resolution: int, seed: int = 0) -> Recovered:
    """Fit a hash-grid field to pictures by volume rendering; its surface on a tetrahedral grid.

    Args:
        truth: pictures from the cameras ``GIVEN``.
        resolution: cells a side of the grid the surface is taken on.
    """
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    field = HashField(surface, HALF_EXTENT, HashEncoding(HALF_EXTENT, SPEC, generator), hidden=32)
    optimizer = torch.optim.Adam(
        [
            {"params": field.encoding.parameters(), "lr": 0.01},
            {"params": [*field.shape_network.parameters(), *field.colour_network.parameters()], "lr": 0.005},
            {"params": [field.sharpness], "lr": 0.003 if surface == "sdf" else 0.0},
        ],
        eps=1e-15,
    )
    size, ray_step = truth.rgb.shape[1], 2 * HALF_EXTENT * 3**0.5 / 96
    occupancy = field.occupancy(32, ray_step)
    for index in range(steps):
        if index % 16 == 0:
            occupancy = field.occupancy(32, ray_step)
        field.cosine_anneal = min(1.0, index / (0.5 * steps))
        chosen = torch.randperm(len(GIVEN), generator=generator)[:1]
        jitter = torch.rand(len(chosen), size * size, generator=generator)
        views = render_volume(field, GIVEN[chosen], size, occupancy, ray_step, jitter=jitter)
        loss = F.mse_loss(views.rgb, truth.rgb[chosen]) + F.mse_loss(views.mask, truth.mask[chosen])
        if surface == "sdf":
            loss = loss + 0.01 * (views.samples.slope.norm(dim=-1) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        mesh = DMTet.from_sdf(field.signed_distance, resolution, HALF_EXTENT).extract()
    return Recovered(mesh, time.perf_counter() - started)


def recover_dmtet(truth: Views, steps: int, resolution: int, seed: int = 0) -> Recovered:
    """Deform a sphere on a tetrahedral grid until its rasterized pictures match, as :func:`recover_field`."""
    started = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    dmtet = DMTet(resolution, torch.tensor([[-HALF_EXTENT] * 3, [HALF_EXTENT] * 3]))
    with torch.no_grad():
        dmtet.sdf.copy_(dmtet.vertices.norm(dim=-1) - 0.5)
    colour = DenseColour(48, HALF_EXTENT)
    optimizer = torch.optim.Adam(
        [{"params": dmtet.parameters(), "lr": 0.005}, {"params": colour.parameters(), "lr": 0.05}]
    )
    size = truth.rgb.shape[1]
    for index in range(steps):
        chosen = torch.randperm(len(GIVEN), generator=generator)[:2]
        mesh = dmtet.extract()
        views = render_mesh(mesh, GIVEN[chosen], size, albedo=colour)
        loss = F.mse_loss(views.rgb, truth.rgb[chosen]) + F.mse_loss(views.mask, truth.mask[chosen])
        loss = loss + (0.02 + 0.2 * (1 - index / steps)) * dmtet.sdf_regulariser()
        loss = loss + 0.005 * normal_consistency(mesh.vertices, mesh.faces)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return Recovered(dmtet.extract(), time.perf_counter() - started)


def chamfer(a: Mesh, b: Mesh, samples: int = 20_000, seed: int = 0) -> float:
    """Mean distance between surface samples of two meshes and the nearest of the other's, both ways averaged."""
    points = [
        trimesh.sample.sample_surface(trimesh.Trimesh(m.vertices.numpy(), m.faces.numpy()), samples, seed=seed)[0]
        for m in (a, b)
    ]
    there, back = (cKDTree(points[i]).query(points[1 - i])[0].mean() for i in (0, 1))
    return float(there + back) / 2


@torch.no_grad()
def mask_iou(a: Mesh, b: Mesh, size: int = 128) -> float:
    """Mean overlap of two meshes' outlines over the views ``UNSEEN``."""
    first, second = (render_views(m, UNSEEN, size).mask[..., 0] > 0.5 for m in (a, b))
    both, either = (first & second).sum(dim=(1, 2)), (first | second).sum(dim=(1, 2))
    return float((both / either.clamp(min=1)).mean())


def main(
    mesh: Annotated[Path, typer.Argument(help="GLB, OBJ, PLY or STL.")],
    output: Annotated[Path, typer.Option(help="Folder for the contact sheet.")] = Path("out/recover"),
    steps: int = 600,
    size: int = 96,
) -> None:
    """Recover a mesh from 24 pictures in three ways."""
    truth_mesh, _ = normalise(load_mesh(mesh), FRONT_FILL * 2 * half_height())
    truth = render_views(truth_mesh, GIVEN, size)
    ways: dict[str, Callable[[], Recovered]] = {
        "NeRF, hash grid": lambda: recover_field(truth, "density", steps, 64),
        "NeuS, hash grid": lambda: recover_field(truth, "sdf", steps, 64),
        "DMTet-64": lambda: recover_dmtet(truth, steps, 64),
    }
    table = Table("representation", "seconds", "Chamfer / 1000", "mask IoU")
    rows: list[tuple[str, Tensor]] = [("truth", render_views(truth_mesh, UNSEEN, 160).rgb)]
    for name, recover in ways.items():
        found = recover()
        distance = chamfer(truth_mesh, found.mesh) / (FRONT_FILL * 2 * half_height()) * 1000
        table.add_row(name, f"{found.seconds:.0f}", f"{distance:.1f}", f"{mask_iou(truth_mesh, found.mesh):.3f}")
        rows.append((name, render_mesh(found.mesh, UNSEEN, 160).rgb.detach()))
    contact_sheet(rows, output / "recover.png", cell=160)
    console = Console()
    console.print(table)
    found = recover_dmtet(render_views(truth_mesh, GIVEN, 512), 20, 128)
    memory = peak_memory() / 2**30
    console.print(f"DMTet-128 at 512 px: {found.seconds / 20:.2f} s a step, {memory:.1f} GiB at most")


if __name__ == "__main__":
    typer.run(main)
