"""What each part of the method adds: it is left out, everything else stays, and the results are held against the truth.

    python -m dreamcraft3d.evaluate.ablation --objects FOLDER --output FOLDER

makes each of some validation objects of its front, for each seed and each row of the table: without the 3D prior, and
with texture stages by SDS, VSD, BSD in one round and in all its rounds, which go on from one shape and take as many
steps of distillation. It writes ``results.json``, ``table.md``, and for each row a contact sheet. Interrupted, it goes on
where it was; finished cells are not made again, those that failed are; more objects or seeds grow the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from dreamcraft3d.errors import UserError
from dreamcraft3d.evaluate.runs import chosen_objects, file_name, generate, is_run_of, write_front
from dreamcraft3d.evaluate.truth import GREY_LEVELS, SIZE, Pictures, Scores, headings, stage_pictures, true_pictures
from dreamcraft3d.export.formats import write_atomically
from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.picture.metrics import disagreement
from dreamcraft3d.pipeline.config import Preset, changed, load_preset
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.views import ObjectsOption

PRESET = "embedded"
IDS = "kenney-food/apple,pmndrs-market/hatchback,quaternius/mushroom-1,pmndrs-market/skater-male"
AROUND = "around"
"""The name under which a run's folder keeps the eight views for the contact sheets."""

Cell = dict[str, Any]
"""Of one row, object and seed: ``scores``, ``disagreement`` and ``seconds``, or why it ``failed``."""

COLUMNS: dict[str, tuple[Callable[[Cell], float], int]] = {
    "reference PSNR, dB": (lambda cell: cell["scores"]["reference_psnr"], 2),
    "silhouette IoU": (lambda cell: cell["scores"]["silhouette_iou"], 3),
    "novel PSNR, dB": (lambda cell: cell["scores"]["novel_psnr"], 2),
    "sharpness": (lambda cell: cell["scores"]["sharpness"], 2),
    "disagreement": (lambda cell: cell["disagreement"], 1),
    "seconds": (lambda cell: sum(cell["seconds"].values()), 0),
    "of these texture": (lambda cell: cell["seconds"]["texture"], 0),
}
"""Of the table: what is read off a cell, and with how many decimals."""

OF_TRUTH = ("sharpness", "disagreement")
NOTES = """
Silhouette IoU, novel PSNR and sharpness (grey levels of 255 a pixel) are means over eight views. Disagreement is the mean
1-Wasserstein distance between the colours of two of them, over all pairs (grey levels of 255): less is more alike.
"""


def rows(preset: Preset) -> dict[str, Preset]:
    """The table's rows, each the preset with something left out; the last is the preset itself.

    Without the 3D prior nothing is fitted to sampled views, and distillation from a blob has those steps, too. SDS and
    VSD distil from the frozen prior at the geometry stage's guidance scale: unlike a DreamBooth, which knows its
    object, it has only the words to say what is wanted.
    """
    coarse, texture = preset.coarse, preset.texture
    unseen = {"distillation": {"mu": 0.0}}
    frozen = {"guidance_scale": preset.geometry.distillation.flat_scale}
    steps = coarse.fit_steps + coarse.density_steps
    distil_steps = len(texture.restore_levels) * texture.distil_steps
    return {
        "no 3D prior": changed(
            preset,
            {
                "coarse": {"sampled_views": 0, "density_steps": steps} | unseen,
                "geometry": unseen,
                "texture": {"restore_with": "words"},
            },
        ),
        "SDS": changed(preset, {"texture": {"method": "sds"} | frozen}),
        "VSD": changed(preset, {"texture": {"method": "vsd"} | frozen}),
        "BSD, one round": changed(
            preset, {"texture": {"restore_levels": texture.restore_levels[:1], "distil_steps": distil_steps}}
        ),
        "BSD, two rounds": preset,
    }


def same_shape(one: Preset, other: Preset) -> bool:
    """Whether two presets differ in nothing before the texture stage."""
    return one == changed(other, {"texture": one.texture.model_dump()})


@dataclass
class Ablation:
    """A table that grows in a folder.

    Attributes:
        output: the folder.
        preset: the whole method.
        chosen: objects by their ids.
        truth: of all objects that ever were chosen, what a cell says of its result.
        cells: all that were ever made.
    """

    output: Path
    preset: Preset
    chosen: dict[str, Mesh]
    truth: dict[str, Cell] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)

    @property
    def results_file(self) -> Path:
        """What is kept of truth and cells from one start to the next."""
        return self.output / "results.json"

    def grow(self, seeds: list[int]) -> None:
        """Make the cells that are still to be made, seed by seed."""
        if self.results_file.is_file():
            kept = json.loads(self.results_file.read_text(encoding="utf-8"))
            self.truth, self.cells = kept["truth"], kept["cells"]
        true = {name: true_pictures(mesh) for name, mesh in self.chosen.items()}
        for name, pictures in true.items():
            self.truth[name] = evaluated(pictures, pictures)
            self._truth_folder(name).save_views(AROUND, pictures.rgb[1:])
        self._write_sheet("truth", [(name, self._truth_folder(name)) for name in self.truth])
        for seed, (name, mesh) in product(seeds, self.chosen.items()):
            front = write_front(mesh, self.output / "fronts" / f"{file_name(name)}.png")
            for row, preset in rows(self.preset).items():
                asked = {"row": row, "object": name, "seed": seed}
                run, done = self._run(row, name, seed), any(asked.items() <= cell.items() for cell in self._made())
                if done and run.is_file() and is_run_of(run, front, preset, seed):
                    continue
                try:
                    self._generate(front, run, preset, seed)
                    self._keep(asked, evaluated_run(run, true[name]))
                except Exception as error:  # whatever befell one cell, the others are still wanted
                    self._keep(asked, {"failed": str(error)})

    def _generate(self, front: Path, run: Path, preset: Preset, seed: int) -> None:
        """Make a run; one that leaves the shape as it is goes on from what all such have in common."""
        shape = None
        if same_shape(preset, self.preset):
            shape = run.with_name("shape.glb")
            if not generate(front, shape, self.preset, seed, until="geometry"):
                raise UserError("The shape's run failed.")
        if not generate(front, run, preset, seed, shape=shape):
            raise UserError("The run failed.")

    def _run(self, row: str, name: str, seed: int) -> Path:
        return self.output / "runs" / f"{file_name(name)}-{seed}" / f"{file_name(row)}.glb"

    def _truth_folder(self, name: str) -> RunFolder:
        return RunFolder(self.output / "truth" / file_name(name))

    def _made(self) -> list[Cell]:
        return [cell for cell in self.cells if "failed" not in cell]

    def _keep(self, asked: Cell, found: Cell) -> None:
        """Take a cell into the results, in the place of an older one, and write all of them."""
        self.cells = [cell for cell in self.cells if not asked.items() <= cell.items()] + [asked | found]
        results = {"truth": self.truth, "cells": self.cells}
        write_atomically(self.results_file, json.dumps(results, indent=2).encode())
        write_atomically(self.output / "table.md", table(self.truth, self.cells).encode())
        of_row = [cell for cell in self._made() if cell["row"] == asked["row"]]
        first = min((cell["seed"] for cell in of_row), default=None)
        shown = [(cell["object"], cell["seed"]) for cell in of_row if cell["seed"] == first]
        runs = [(name, RunFolder.open(self._run(asked["row"], name, seed))[0]) for name, seed in shown]
        self._write_sheet(asked["row"], runs)

    def _write_sheet(self, row: str, folders: list[tuple[str, RunFolder]]) -> None:
        """A contact sheet with a row for each object, of the views that these folders keep."""
        pictures = [(name, views) for name, folder in folders if (views := folder.load_views(AROUND)) is not None]
        contact_sheet(pictures, self.output / "sheets" / f"{file_name(row)}.png", cell=SIZE // 2, headings=headings())


def evaluated(result: Pictures, truth: Pictures) -> Cell:
    """What a cell says of its result's looks."""
    unlike = disagreement(result.rgb[1:], result.mask[1:]) * GREY_LEVELS
    return {"scores": asdict(Scores.of(result, truth)), "disagreement": unlike}


def evaluated_run(run: Path, truth: Pictures) -> Cell:
    """What a cell says of a finished run; the eight views are kept in the run's folder."""
    folder, request = RunFolder.open(run)
    pictures = stage_pictures(folder, request, "texture")
    folder.save_views(AROUND, pictures.rgb[1:])
    stages = folder.read_json("metrics.json")["stages"]
    return evaluated(pictures, truth) | {"seconds": {name: stage["seconds"] for name, stage in stages.items()}}


def table(truth: dict[str, Cell], cells: list[Cell]) -> str:
    """Markdown: the means of each row over objects and seeds, then those of each object over seeds."""
    made = [cell for cell in cells if "failed" not in cell]
    lines = _head("row", "cells")
    for row in dict.fromkeys(cell["row"] for cell in made):
        of_row = [cell for cell in made if cell["row"] == row]
        lines.append(_line([row, str(len(of_row))], of_row, COLUMNS))
    lines += [_line(["truth", str(len(truth))], list(truth.values()), OF_TRUTH), NOTES, *_head("object", "row")]
    for name, true in truth.items():
        of_object = [cell for cell in made if cell["object"] == name]
        for row in dict.fromkeys(cell["row"] for cell in of_object):
            lines.append(_line([name, row], [cell for cell in of_object if cell["row"] == row], COLUMNS))
        lines.append(_line([name, "truth"], [true], OF_TRUTH))
    failed = [cell for cell in cells if "failed" in cell]
    lines += [f"\n{cell['row']}, {cell['object']}, seed {cell['seed']}: {cell['failed']}" for cell in failed]
    return "\n".join(lines) + "\n"


def _head(*names: str) -> list[str]:
    columns = [*names, *COLUMNS]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]


def _line(names: list[str], cells: list[Cell], told: Collection[str]) -> str:
    """The means of cells in the columns ``told``; the others stay empty."""
    means = [
        f"{fmean(value(cell) for cell in cells):.{decimals}f}" if name in told else ""
        for name, (value, decimals) in COLUMNS.items()
    ]
    return "| " + " | ".join([*names, *means]) + " |"


def seed_numbers(seeds: str) -> list[int]:
    """Seeds, given with commas between.

    Raises:
        UserError: one is no number.
    """
    try:
        return [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise UserError(f"{seeds} are no seeds.", "Give numbers with commas between, such as --seeds 1,2.") from None


def main(
    objects: ObjectsOption,
    output: Annotated[Path, typer.Option(help="Folder for runs, pictures, results.json and table.md.")],
    ids: Annotated[str, typer.Option(help="Validation objects, with commas between.")] = IDS,
    seeds: Annotated[str, typer.Option(help="As for `dreamcraft3d generate`, with commas between.")] = "1,2",
) -> None:
    """Leave out one part of the method after another, and compare what is made with the truth."""
    chosen = chosen_objects(Objects.load(objects, "val"), ids)
    Ablation(output, load_preset(PRESET), chosen).grow(seed_numbers(seeds))


if __name__ == "__main__":
    typer.run(main)
