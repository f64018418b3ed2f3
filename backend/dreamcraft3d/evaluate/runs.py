"""Runs that are evaluated: made of the front of a known object, each by a process of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from torch import Tensor

from dreamcraft3d import __version__
from dreamcraft3d.errors import UserError
from dreamcraft3d.evaluate.retrieval import front_of, in_front_box
from dreamcraft3d.export.formats import write_atomically
from dreamcraft3d.pipeline.config import STAGES, Preset, StageName
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects

FRONT_SIZE = 512


def chosen_objects(known: Objects, ids: str) -> dict[str, Mesh]:
    """Objects by their ids, given with commas between, where a run has its own.

    Raises:
        UserError: one is not known.
    """
    chosen = [name.strip() for name in ids.split(",")]
    if unknown := [name for name in chosen if name not in known.ids]:
        raise UserError(f"There is no validation object {unknown[0]}.", "Their ids are in manifest.csv.")
    return {name: in_front_box(known.mesh(known.ids.index(name))) for name in chosen}


def file_name(name: str) -> str:
    """An object's id, or words, as part of a path."""
    return name.replace("/", "-").replace(", ", "-").replace(" ", "-")


def write_front(truth: Mesh, path: Path) -> Path:
    """Write the picture that a run is given; returns its path."""
    write_atomically(path, png(front_of(truth, FRONT_SIZE)))
    return path


def png(rgba: Tensor) -> bytes:
    """(H, W, 4) in [0, 1] as a PNG file."""
    data = io.BytesIO()
    Image.fromarray((rgba * 255).round().byte().numpy()).save(data, "PNG")
    return data.getvalue()


def generate(
    front: Path, output: Path, preset: Preset, seed: int, until: StageName = "texture", shape: Path | None = None
) -> bool:
    """Make the run of a picture, or go on with it; false if it fails. One that is finished is left as it is.

    Args:
        shape: a run of the same picture until the geometry stage, from which a new one goes on.
    """
    if is_run_of(output, front, preset, seed):
        if output.is_file():
            return True
    else:
        folder, copies = RunFolder.create(output, {"image": front, "mesh": None})
        request = Request(
            output=output.name,
            prompt="",
            image=copies["image"],
            mesh=None,
            preset=preset,
            seed=seed,
            first="coarse",
            until=until,
            version=__version__,
        )
        folder.write_request(request)
    if shape is not None:
        take_over(RunFolder.open(output)[0], RunFolder.open(shape)[0])
    return resume(output)


def resume(output: Path) -> bool:
    """Go on with a run, by a process of its own, so that its peak memory is its own too; false if it fails."""
    command = [sys.executable, "-m", "dreamcraft3d.cli", "resume", str(output)]
    return subprocess.run(command, check=False).returncode == 0


def is_run_of(output: Path, front: Path, preset: Preset, seed: int) -> bool:
    """Whether there is a run, finished or not, of this picture with these settings."""
    try:
        folder, request = RunFolder.open(output)
    except UserError:  # none, or one of another version
        return False
    same_picture = (folder.path / str(request.image)).read_bytes() == front.read_bytes()
    return same_picture and (request.preset, request.seed) == (preset, seed)


def take_over(folder: RunFolder, shape: RunFolder) -> None:
    """Copy what a run until the geometry stage has made into another's folder, but what is there already."""
    made = [path for stage in STAGES for path in sorted(shape.path.glob(f"{stage}.*"))]
    for path in [*made, shape.path / "progress.json"]:
        if not (folder.path / path.name).exists():
            write_atomically(folder.path / path.name, path.read_bytes())
