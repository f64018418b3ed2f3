"""Step 1 of training: render every object from its front and from random sides.

    python -m dreamcraft3d.training.views --objects FOLDER --cache FOLDER

writes for each split ``rgb.npy`` (N, V, 128, 128, 3) uint8, ``cameras.npy`` (N, V, 2) azimuth and elevation in degrees
and ``geometry.npy`` (N, G, 128, 128, 5) uint8: coverage, normal ((n + 1) / 2) and depth (0.5 + depth / 2) of the first
G views. View 0 is the front (azimuth 0, elevation 0). Interrupted, it goes on where it was.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.lib.format import open_memmap

from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.training.objects import Objects

SIZE, VIEWS, GEOMETRY_VIEWS = 128, 16, 4
CACHE = Path.home() / ".cache/dreamcraft3d/training"
ObjectsOption = Annotated[Path, typer.Option(envvar="DREAMCRAFT3D_OBJECTS", help="Folder with train.npz and val.npz.")]
CacheOption = Annotated[Path, typer.Option(help="Where pictures and checkpoints are kept.")]


def view_cameras(seed: int) -> Cameras:
    """The front, then random azimuths with elevations in [-10, 45] degrees, one in ten up to 85."""
    generator = torch.Generator().manual_seed(seed)
    azimuth = torch.rand(VIEWS, generator=generator) * 360 - 180
    elevation = torch.rand(VIEWS, generator=generator) * 55 - 10
    overhead = torch.rand(VIEWS, generator=generator) < 0.1
    elevation = torch.where(overhead, 45 + torch.rand(VIEWS, generator=generator) * 40, elevation)
    azimuth[0] = elevation[0] = 0.0
    return Cameras(azimuth, elevation)


def _render_share(objects_folder: Path, cache: Path, split: str, share: int, shares: int) -> None:
    torch.set_num_threads(1)
    objects = Objects.load(objects_folder, split)
    folder = cache / "views" / split
    rgb, cameras_file, geometry = (
        open_memmap(folder / f"{name}.npy", mode="r+") for name in ("rgb", "cameras", "geometry")
    )
    for index in range(share, len(objects), shares):
        if rgb[index, 0].any():
            continue
        cameras = view_cameras(index)
        jitter = 1.0 if split == "val" else float(np.random.default_rng(index).uniform(0.92, 1.08))
        views = render_views(objects.mesh(index, jitter), cameras, SIZE)
        channels = torch.cat([views.mask, views.normal / 2 + 0.5, views.depth / 2 + 0.5], dim=-1)[:GEOMETRY_VIEWS]
        geometry[index] = (channels.clamp(0, 1) * 255).round().byte().numpy()
        cameras_file[index] = torch.stack([cameras.azimuth, cameras.elevation], dim=-1).numpy()
        rgb[index] = (views.rgb * 255).round().byte().numpy()


def main(objects: ObjectsOption, cache: CacheOption = CACHE, processes: int = 2) -> None:
    """Render the training and validation pictures."""
    for split in ("val", "train"):
        count = len(Objects.load(objects, split))
        folder = cache / "views" / split
        folder.mkdir(parents=True, exist_ok=True)
        for name, dtype, shape in (
            ("rgb", np.uint8, (count, VIEWS, SIZE, SIZE, 3)),
            ("cameras", np.float32, (count, VIEWS, 2)),
            ("geometry", np.uint8, (count, GEOMETRY_VIEWS, SIZE, SIZE, 5)),
        ):
            if not (folder / f"{name}.npy").exists():
                open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
        with ProcessPoolExecutor(processes) as pool:
            for job in [pool.submit(_render_share, objects, cache, split, i, processes) for i in range(processes)]:
                job.result()


if __name__ == "__main__":
    typer.run(main)
