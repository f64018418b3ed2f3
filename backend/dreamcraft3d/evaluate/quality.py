"""How good what the pipeline makes of one picture is, seen from all around, where the true object is known.

    python -m dreamcraft3d.evaluate.quality --objects FOLDER --output FOLDER

runs ``dreamcraft3d generate --image`` on the front of each of some validation objects, and compares what the stages
coarse, geometry and texture made, and the training object that looks most alike, with the truth: at the reference view,
and over eight views around at 15 degrees. It writes ``results.json``, ``table.md``, and for each object a contact
sheet. Interrupted, it goes on where it was; runs that are finished are not made again, unless picture, preset or seed
are others. (It does not see that the priors are others: give those another output folder.)

Truth and result share the training frame: the truth is moved and scaled until its front is framed as the pipeline
frames any picture, and nothing is aligned afterwards.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from PIL import Image
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.evaluate.retrieval import SIZE as RETRIEVAL_SIZE
from dreamcraft3d.evaluate.retrieval import Gallery, front_of, in_front_box
from dreamcraft3d.export.formats import write_atomically
from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.picture.framing import frame
from dreamcraft3d.picture.metrics import mask_iou, psnr, sharpness
from dreamcraft3d.pipeline.config import StageName, load_preset
from dreamcraft3d.pipeline.finish import final_shape
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption

IDS = (
    "kenney-food/apple,pmndrs-market/hatchback,pmndrs-market/skater-male,"
    "quaternius/mushroom-1,quaternius/crown2,quaternius/watchtower"
)
STAGES: tuple[StageName, ...] = ("coarse", "geometry", "texture")
FRONT_SIZE, SIZE = 512, 256
GREY_LEVELS = 255


@dataclass(frozen=True)
class Pictures:
    """An object at the reference view, and at the eight around it: (9, S, S, 3) on white, and coverage (9, S, S, 1)."""

    rgb: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Scores:
    """One result against the truth; of the eight views, means.

    Attributes:
        reference_psnr: inside the true outline at the reference view, dB.
        reference_iou: of the outlines there.
        silhouette_iou: of the outlines of the eight views.
        novel_psnr: inside either outline in the eight views, dB.
        sharpness: mean gradient inside the eroded outline in the eight views, grey levels of 255 a pixel.
    """

    reference_psnr: float
    reference_iou: float
    silhouette_iou: float
    novel_psnr: float
    sharpness: float

    @staticmethod
    def of(result: Pictures, truth: Pictures) -> Scores:
        pairs = list(zip(result.rgb, result.mask, truth.rgb, truth.mask, strict=True))
        rgb, mask, true_rgb, true_mask = pairs[0]
        return Scores(
            psnr(rgb, true_rgb, true_mask),
            mask_iou(mask, true_mask),
            fmean(mask_iou(mask, true_mask) for _, mask, _, true_mask in pairs[1:]),
            fmean(psnr(rgb, true_rgb, torch.maximum(mask, true_mask)) for rgb, mask, true_rgb, true_mask in pairs[1:]),
            fmean(sharpness(rgb, mask) * GREY_LEVELS for rgb, mask, _, _ in pairs[1:]),
        )


def views() -> Cameras:
    """The reference view, and eight around at 15 degrees."""
    return Cameras.at([0.0] + [45.0 * i for i in range(8)], [0.0] + [15.0] * 8)


def true_pictures(mesh: Mesh) -> Pictures:
    """Of an object as it is: flat-shaded, supersampled."""
    drawn = [render_views(mesh, views()[[i]], SIZE, supersample=4) for i in range(len(views()))]
    return Pictures(torch.cat([d.rgb for d in drawn]), torch.cat([d.mask for d in drawn]))


@torch.no_grad()
def stage_pictures(folder: RunFolder, request: Request, stage: StageName) -> Pictures:
    """Of what ``--until stage`` would export: the stage's mesh with its colours, before they are baked."""
    mesh, albedo = final_shape(request.model_copy(update={"until": stage}), folder, torch.device("cpu"))
    drawn = [render_mesh(mesh, views()[[i]], 2 * SIZE, albedo=albedo) for i in range(len(views()))]
    return Pictures(*(halved(torch.cat(pictures)) for pictures in ([d.rgb for d in drawn], [d.mask for d in drawn])))


def halved(pictures: Tensor) -> Tensor:
    """(B, 2S, 2S, C) to (B, S, S, C)."""
    return F.avg_pool2d(pictures.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def png(rgba: Tensor) -> bytes:
    """(H, W, 4) in [0, 1] as a PNG file."""
    data = io.BytesIO()
    Image.fromarray((rgba * 255).round().byte().numpy()).save(data, "PNG")
    return data.getvalue()


def generate(front: Path, output: Path, preset: str, seed: int) -> bool:
    """Make the run of a picture, or go on with it; false if it fails. One that is finished is left as it is.

    The command line is run as a process of its own, so that its peak memory is its own too.
    """
    arguments = ["generate", "--image", front, "--preset", preset, "--seed", seed, "--output", output]
    if is_run_of(output, front, preset, seed):
        if output.is_file():
            return True
        arguments = ["resume", output]
    ended = subprocess.run([sys.executable, "-m", "dreamcraft3d.cli", *map(str, arguments)], check=False)
    return ended.returncode == 0


def is_run_of(output: Path, front: Path, preset: str, seed: int) -> bool:
    """Whether there is a run, finished or not, of this picture with these settings."""
    try:
        folder, request = RunFolder.open(output)
    except UserError:  # none, or one of another version
        return False
    same_picture = (folder.path / str(request.image)).read_bytes() == front.read_bytes()
    return same_picture and (request.preset, request.seed) == (load_preset(preset), seed)


def evaluate(truth: Mesh, gallery: Gallery, run: Path, sheet: Path) -> dict[str, Any]:
    """All that is to be said of one finished run; its contact sheet is written to ``sheet``."""
    folder, request = RunFolder.open(run)
    nearest = gallery.nearest(frame(front_of(truth, FRONT_SIZE), RETRIEVAL_SIZE))
    true = true_pictures(truth)
    made: dict[str, Pictures] = {stage: stage_pictures(folder, request, stage) for stage in STAGES}
    made["retrieval"] = true_pictures(in_front_box(gallery.objects.mesh(nearest)))
    rows = [("truth", true), *(("final" if name == "texture" else name, views) for name, views in made.items())]
    headings = [f"{azimuth:.0f}°" for azimuth in views().azimuth[1:].tolist()]
    contact_sheet([(label, pictures.rgb[1:]) for label, pictures in rows], sheet, cell=SIZE // 2, headings=headings)
    metrics = folder.read_json("metrics.json")
    return {
        "prompt": folder.read_json("reference.json")["prompt"],
        "scores": {name: asdict(Scores.of(pictures, true)) for name, pictures in made.items()},
        "true_sharpness": Scores.of(true, true).sharpness,
        "retrieved": gallery.objects.ids[nearest],
        "near_twins": gallery.twins(truth),
        "seconds": {name: stage["seconds"] for name, stage in metrics["stages"].items()},
        "peak_rss_bytes": metrics["peak_rss_bytes"],
        "device": metrics["device"],
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: the scores of all results of each object and their means, then what each run took."""
    done = {name: result for name, result in results.items() if "scores" in result}
    lines = [
        "| object | | reference PSNR, dB | reference IoU | silhouette IoU | novel PSNR, dB | sharpness |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in done.items():
        lines += [_row(name, made, list(scores.values())) for made, scores in result["scores"].items()]
        lines.append(f"| {name} | truth | | | | | {result['true_sharpness']:.2f} |")
    for made in (*STAGES, "retrieval") if done else ():
        scores = [list(result["scores"][made].values()) for result in done.values()]
        lines.append(_row("**mean**", made, [fmean(column) for column in zip(*scores, strict=True)]))
    lines += [
        "",
        "Silhouette IoU, novel PSNR and sharpness (grey levels of 255 a pixel) are means over eight views.",
        "",
        "| object | read as | retrieved | near twins | seconds | peak memory, GiB |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        if name not in done:
            lines.append(f"| {name} | the run failed | | | | |")
            continue
        twins = ", ".join(result["near_twins"]) or "none"
        seconds, memory = sum(result["seconds"].values()), result["peak_rss_bytes"] / 2**30
        lines.append(
            f"| {name} | {result['prompt']} | {result['retrieved']} | {twins} | {seconds:.0f} | {memory:.2f} |"
        )
    return "\n".join(lines) + "\n"


def _row(name: str, made: str, scores: list[float]) -> str:
    decimals = (2, 3, 3, 2, 2)
    return f"| {name} | {made} | " + " | ".join(f"{x:.{d}f}" for x, d in zip(scores, decimals, strict=True)) + " |"


def main(
    objects: ObjectsOption,
    output: Annotated[Path, typer.Option(help="Folder for runs, pictures, results.json and table.md.")],
    ids: Annotated[str, typer.Option(help="Validation objects, with commas between.")] = IDS,
    preset: Annotated[str, typer.Option(help="As for `dreamcraft3d generate`.")] = "embedded",
    seed: Annotated[int, typer.Option(help="As for `dreamcraft3d generate`.")] = 1,
    cache: CacheOption = CACHE,
) -> None:
    """Make objects of their fronts, and compare them with the truth."""
    known = Objects.load(objects, "val")
    chosen = [name.strip() for name in ids.split(",")]
    if unknown := [name for name in chosen if name not in known.ids]:
        raise UserError(f"There is no validation object {unknown[0]}.", "Their ids are in manifest.csv.")
    gallery = Gallery.of(Objects.load(objects, "train"), cache / "views" / "train")
    results: dict[str, Any] = {}
    for name in chosen:
        truth = in_front_box(known.mesh(known.ids.index(name)))
        label = name.replace("/", "-")
        front = output / "fronts" / f"{label}.png"
        write_atomically(front, png(front_of(truth, FRONT_SIZE)))
        run = output / "runs" / f"{label}.glb"
        made = generate(front, run, preset, seed)
        results[name] = evaluate(truth, gallery, run, output / "sheets" / f"{label}.png") if made else {}
        write_atomically(output / "results.json", json.dumps(results, indent=2).encode())
        write_atomically(output / "table.md", table(results).encode())


if __name__ == "__main__":
    typer.run(main)
