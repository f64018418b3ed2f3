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

import json
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from dreamcraft3d.evaluate.retrieval import SIZE as RETRIEVAL_SIZE
from dreamcraft3d.evaluate.retrieval import Gallery, front_of, in_front_box
from dreamcraft3d.evaluate.runs import FRONT_SIZE, chosen_objects, file_name, generate, write_front
from dreamcraft3d.evaluate.truth import SIZE, Pictures, Scores, headings, stage_pictures, true_pictures
from dreamcraft3d.export.formats import write_atomically
from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.picture.framing import frame
from dreamcraft3d.pipeline.config import StageName, load_preset
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption

IDS = (
    "kenney-food/apple,pmndrs-market/hatchback,pmndrs-market/skater-male,"
    "quaternius/mushroom-1,quaternius/crown2,quaternius/watchtower"
)
STAGES: tuple[StageName, ...] = ("coarse", "geometry", "texture")


def evaluate(truth: Mesh, gallery: Gallery, run: Path, sheet: Path) -> dict[str, Any]:
    """All that is to be said of one finished run; its contact sheet is written to ``sheet``."""
    folder, request = RunFolder.open(run)
    nearest = gallery.nearest(frame(front_of(truth, FRONT_SIZE), RETRIEVAL_SIZE))
    true = true_pictures(truth)
    made: dict[str, Pictures] = {stage: stage_pictures(folder, request, stage) for stage in STAGES}
    made["retrieval"] = true_pictures(in_front_box(gallery.objects.mesh(nearest)))
    rows = [("truth", true), *(("final" if name == "texture" else name, views) for name, views in made.items())]
    contact_sheet([(label, pictures.rgb[1:]) for label, pictures in rows], sheet, cell=SIZE // 2, headings=headings())
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
    chosen, settings = chosen_objects(Objects.load(objects, "val"), ids), load_preset(preset)
    gallery = Gallery.of(Objects.load(objects, "train"), cache / "views" / "train")
    results: dict[str, Any] = {}
    for name, truth in chosen.items():
        label = file_name(name)
        front = write_front(truth, output / "fronts" / f"{label}.png")
        run = output / "runs" / f"{label}.glb"
        made = generate(front, run, settings, seed)
        results[name] = evaluate(truth, gallery, run, output / "sheets" / f"{label}.png") if made else {}
        write_atomically(output / "results.json", json.dumps(results, indent=2).encode())
        write_atomically(output / "table.md", table(results).encode())


if __name__ == "__main__":
    typer.run(main)
