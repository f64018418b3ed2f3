"""The ablation's table: what its rows leave out, how it grows, and what happens to cells that fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image
from runs import drive

from dreamcraft3d.errors import UserError
from dreamcraft3d.evaluate.ablation import Ablation, rows, same_shape, seed_numbers
from dreamcraft3d.evaluate.retrieval import in_front_box
from dreamcraft3d.evaluate.runs import chosen_objects
from dreamcraft3d.pipeline.config import Preset, changed, load_preset
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects

EGG = "toys/egg"
RESUME = "dreamcraft3d.evaluate.runs.resume"


def resume_here(output: Path) -> bool:
    """In this process, which has everything loaded."""
    drive(RunFolder.open(output)[0])
    return True


@pytest.fixture(scope="module")
def preset(tiny_preset: Preset) -> Preset:
    return changed(tiny_preset, {"texture": {"restore_levels": (0.5, 0.3)}})


@pytest.fixture(scope="module")
def egg() -> dict[str, Mesh]:
    body = trimesh.creation.icosphere(2, 0.4)
    body.apply_scale((1.0, 1.0, 1.35))
    corners = torch.tensor(body.triangles, dtype=torch.float32).reshape(-1, 3)
    top = corners[:, 2:] > 0.25
    colours = torch.where(top, torch.tensor([0.2, 0.35, 0.85]), torch.tensor([0.85, 0.2, 0.15]))
    return {EGG: in_front_box(Mesh(corners, torch.arange(len(corners)).reshape(-1, 3), colours))}


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, preset: Preset, egg: dict[str, Mesh]) -> Path:
    """A finished table of one object and one seed."""
    output = tmp_path_factory.mktemp("ablation")
    with pytest.MonkeyPatch.context() as here:
        here.setattr(RESUME, resume_here)
        Ablation(output, preset, egg).grow([1])
    return output


@pytest.fixture
def copy(grown: Path, tmp_path: Path) -> Path:
    """That table, to be changed."""
    return shutil.copytree(grown, tmp_path / "ablation")


def test_every_row_has_its_cell_and_the_truth_has_its_own(grown: Path, preset: Preset) -> None:
    results = json.loads((grown / "results.json").read_text())
    assert [cell["row"] for cell in results["cells"]] == list(rows(preset))
    for cell in results["cells"]:
        assert (cell["object"], cell["seed"]) == (EGG, 1)
        assert 0.3 < cell["scores"]["silhouette_iou"] <= 1
        assert cell["disagreement"] > 0
        assert set(cell["seconds"]) == {"reference", "coarse", "geometry", "texture"}
    assert results["truth"][EGG]["scores"]["novel_psnr"] == 100
    table = (grown / "table.md").read_text()
    assert all(table.count(f"| {row} |") == 2 for row in [*rows(preset), "truth"])


def test_texture_rows_go_on_from_one_shape(grown: Path) -> None:
    """It took each of them the time that it took once."""
    runs = grown / "runs" / "toys-egg-1"
    names = ("shape", "SDS", "VSD", "BSD-one-round", "BSD-two-rounds", "no-3D-prior")
    shape, *others = (RunFolder(runs / name) for name in names)
    for stage in ("coarse", "geometry"):
        result, seconds = shape.result(stage).read_bytes(), shape.read_json("progress.json")[stage]
        assert [run.result(stage).read_bytes() == result for run in others] == [True] * 4 + [False]
        assert [run.read_json("progress.json")[stage] for run in others[:4]] == [seconds] * 4
    assert not shape.result("texture").exists()


def test_each_row_has_a_contact_sheet_and_so_has_the_truth(grown: Path) -> None:
    names = {path.stem for path in (grown / "sheets").iterdir()}
    assert names == {"no-3D-prior", "SDS", "VSD", "BSD-one-round", "BSD-two-rounds", "truth"}
    sheet = Image.open(grown / "sheets" / "VSD.png")
    assert sheet.width > 8 * 128 > 2 * sheet.height


def test_a_finished_table_is_left_as_it_is_and_failed_cells_are_made_again(
    copy: Path, preset: Preset, egg: dict[str, Mesh], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fail(output: Path) -> bool:
        asked.append(output.stem)
        if output.stem == "no-3D-prior":
            raise RuntimeError("The disk is full.")
        return False

    monkeypatch.setattr(RESUME, fail)
    before = json.loads((copy / "results.json").read_text())["cells"]
    written = (copy / "results.json").stat().st_mtime_ns
    Ablation(copy, preset, egg).grow([1])
    assert asked == []
    assert (copy / "results.json").stat().st_mtime_ns == written
    Ablation(copy, preset, egg).grow([1, 2])
    cells = json.loads((copy / "results.json").read_text())["cells"]
    assert cells[:5] == before
    assert [(cell["seed"], cell["failed"]) for cell in cells[5:]] == [
        (2, "The disk is full."), *[(2, "The shape's run failed.")] * 4,
    ]  # fmt: skip
    assert "no 3D prior, toys/egg, seed 2: The disk is full." in (copy / "table.md").read_text()
    assert asked == ["no-3D-prior", *["shape"] * 4]
    Ablation(copy, preset, egg).grow([1, 2])
    assert len(asked) == 10
    assert len(json.loads((copy / "results.json").read_text())["cells"]) == 10


def test_cells_of_other_settings_are_made_anew(
    copy: Path, preset: Preset, egg: dict[str, Mesh], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RESUME, lambda output: False)
    Ablation(copy, changed(preset, {"texture": {"weight": 0.5}}), egg).grow([1])
    cells = json.loads((copy / "results.json").read_text())["cells"]
    assert ["failed" in cell for cell in cells] == [True] * 5


def test_all_texture_rows_take_the_same_steps_of_distillation() -> None:
    """The preset that is ablated; a row without rounds takes those of all rounds."""
    embedded = load_preset("embedded")
    found = {name: row.texture for name, row in rows(embedded).items()}
    assert {len(texture.restore_levels) * texture.distil_steps for texture in found.values()} == {120}
    assert [texture.method for texture in found.values()] == ["bsd", "sds", "vsd", "bsd", "bsd"]
    assert len(found["BSD, one round"].restore_levels) == 1
    assert len(found["BSD, two rounds"].restore_levels) == 2


def test_only_the_row_without_the_3d_prior_has_another_shape() -> None:
    embedded = load_preset("embedded")
    found = rows(embedded)
    assert [same_shape(row, embedded) for row in found.values()] == [False] + [True] * 4
    blind = found["no 3D prior"]
    assert (blind.coarse.sampled_views, blind.coarse.distillation.mu, blind.geometry.distillation.mu) == (0, 0, 0)
    assert blind.coarse.density_steps == embedded.coarse.fit_steps + embedded.coarse.density_steps
    assert blind.texture.restore_with == "words"


def test_wrong_seeds_and_objects_are_sentences(egg: dict[str, Mesh]) -> None:
    with pytest.raises(UserError, match="no seeds"):
        seed_numbers("1,two")
    none = torch.zeros(0, 3, 3).numpy()
    with pytest.raises(UserError, match="no validation object toys/egg"):
        chosen_objects(Objects([], [], [], none, none, torch.zeros(1).numpy()), EGG)
