"""Whole runs, made as small as they go: what they leave on disk, stopping, resuming, repeating."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from runs import Finished, Watcher, drive, prepare
from safetensors.torch import load_file

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.pipeline.coarse import CoarseStage
from dreamcraft3d.pipeline.config import Preset, StageName, load_preset, preset_names
from dreamcraft3d.pipeline.driver import Stopped
from dreamcraft3d.pipeline.geometry import GeometryStage
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.render.camera import half_height

# what a run leaves behind


def test_a_run_leaves_everything_an_artist_needs(finished: Finished) -> None:
    folder, _ = finished
    found = {p.name for p in folder.path.iterdir()}
    assert found >= {
        "config.json",
        "reference.png",
        "stages.png",
        "turntable.gif",
        "metrics.json",
        "egg.obj",
        "egg.ply",
    }
    assert (folder.path.parent / "egg.glb").is_file()


def test_nothing_half_done_is_left_behind(finished: Finished) -> None:
    folder, _ = finished
    assert not folder.checkpoint.exists()
    assert not [p for p in folder.path.parent.rglob("*") if p.suffix == ".tmp" or p.name.startswith(".")]


def test_metrics_have_every_key_and_are_those_returned(finished: Finished) -> None:
    folder, metrics = finished
    assert metrics == json.loads((folder.path / "metrics.json").read_text())
    assert set(metrics) == {
        "stages", "reference_view", "mesh", "texture", "seconds", "peak_rss_bytes", "device", "preset", "seed", "version",
    }  # fmt: skip
    assert set(metrics["stages"]) == {"reference", "coarse", "geometry", "texture"}
    assert {name: stage["steps"] for name, stage in metrics["stages"].items()} == {
        "reference": 1, "coarse": 8, "geometry": 4, "texture": 4,
    }  # fmt: skip
    assert metrics["seconds"] == pytest.approx(sum(s["seconds"] for s in metrics["stages"].values()), abs=0.02)
    assert set(metrics["reference_view"]) == {"psnr", "mask_iou"}
    assert set(metrics["mesh"]) == {"faces", "vertices", "watertight", "components"}
    assert set(metrics["texture"]) == {"size", "coverage"}
    assert metrics["texture"]["size"] == 256
    assert 0 < metrics["texture"]["coverage"] <= 1
    assert metrics["peak_rss_bytes"] > 1e8
    assert (metrics["preset"], metrics["seed"], metrics["version"]) == ("tiny", 0, "0")


def test_the_object_is_closed_and_matches_its_picture_somewhat(finished: Finished) -> None:
    _, metrics = finished
    assert metrics["mesh"]["watertight"]
    assert metrics["mesh"]["faces"] > 50
    assert metrics["reference_view"]["mask_iou"] > 0.6
    assert metrics["reference_view"]["psnr"] > 10


def test_the_glb_stands_upright_and_has_its_texture_inside(finished: Finished) -> None:
    folder, _ = finished
    scene = trimesh.load_scene(folder.path.parent / "egg.glb")
    (mesh,) = scene.geometry.values()
    assert mesh.visual.material.baseColorTexture.size == (256, 256)
    width, height, _ = mesh.extents  # glTF's y is up
    assert height > 1.1 * width
    assert height == pytest.approx(FRONT_FILL * 2 * half_height(), rel=0.25)


def test_the_reference_is_the_picture_framed_with_its_depth_and_normals(finished: Finished) -> None:
    folder, _ = finished
    views = folder.load_views("reference")
    assert views is not None
    assert views.shape == (3, 128, 128, 3)
    rows = (views[0].amin(dim=-1) < 0.7).any(dim=1).nonzero()
    assert (rows.max() - rows.min()).item() / 128 == pytest.approx(FRONT_FILL, abs=0.03)
    assert views[0, 80, 64, 0] > views[0, 80, 64, 2]  # red below
    assert views[0, 30, 64, 2] > views[0, 30, 64, 0]  # blue above


def test_the_contact_sheet_has_a_row_for_each_stage(finished: Finished) -> None:
    folder, _ = finished
    for stage in ("coarse", "geometry", "texture", "final"):
        views = folder.load_views(stage)
        assert views is not None
        assert views.shape == (8, 48, 48, 3)
    assert Image.open(folder.path / "stages.png").height > 5 * 48


def test_the_turntable_turns(finished: Finished) -> None:
    folder, _ = finished
    gif = Image.open(folder.path / "turntable.gif")
    assert gif.n_frames == 36
    gif.seek(0)
    first = np.asarray(gif.convert("RGB")).astype(int)
    gif.seek(18)
    assert np.abs(first - np.asarray(gif.convert("RGB"))).max() > 10


def test_the_config_repeats_the_whole_request(finished: Finished, tiny_preset: Preset) -> None:
    folder, request = RunFolder.open(finished[0].path)
    assert request.preset == tiny_preset
    assert request.image == "image.png"
    assert (folder.path / "image.png").is_file()


def test_a_run_can_be_named_by_its_glb(finished: Finished) -> None:
    folder, _ = finished
    assert RunFolder.open(folder.path.with_suffix(".glb"))[0] == folder


def test_a_finished_run_that_is_resumed_makes_its_object_anew_and_nothing_else(finished: Finished) -> None:
    folder, metrics = finished
    glb = folder.path.parent / "egg.glb"
    before = glb.read_bytes()
    glb.unlink()
    watcher = Watcher()
    again = drive(folder, watcher)
    assert again is not None
    assert watcher.steps == []
    assert glb.read_bytes() == before
    assert again["stages"] == metrics["stages"]


# stopping, resuming, repeating


STOPS: list[tuple[StageName, int]] = [
    ("coarse", 2),  # while fitting
    ("coarse", 5),  # while distilling
    ("coarse", 6),  # just before NeuS takes over
    ("coarse", 7),
    ("geometry", 2),
    ("geometry", 4),  # after its last step
    ("texture", 1),  # while DreamBooth trains
    ("texture", 3),  # while distilling
]


def test_a_run_stopped_in_every_stage_ends_as_one_that_was_not(
    finished: Finished, tmp_path: Path, picture_file: Path, tiny_preset: Preset
) -> None:
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file)
    torch.manual_seed(1234)  # nothing may hang on the global generator
    for stage, done in STOPS:
        watcher = Watcher((stage, done))
        with pytest.raises(Stopped):
            drive(folder, watcher)
        assert watcher.steps[-1] == (stage, done)
        assert folder.checkpoint.is_file()
        assert not (tmp_path / "egg.glb").exists()
    last = Watcher()
    metrics = drive(folder, last)
    assert last.steps == [("texture", 4)]
    assert last.begun == [("texture", 4, 3)]
    for stage in ("coarse", "geometry", "texture"):
        found, expected = (load_file(f.result(stage)) for f in (folder, finished[0]))
        assert found.keys() == expected.keys()
        for name in found:
            torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=0)
    assert metrics is not None
    assert metrics["mesh"] == finished[1]["mesh"]


def test_a_run_that_is_looked_at_after_every_step_ends_as_one_that_is_not(
    finished: Finished, tmp_path: Path, picture_file: Path, tiny_preset: Preset
) -> None:
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file)
    watcher = Watcher(shows=True)
    drive(folder, watcher)
    assert [stage for stage, _ in watcher.surfaces] == [stage for stage, _ in watcher.steps]
    for stage, mesh in watcher.surfaces:
        assert mesh is not None, stage
        assert mesh.colours is not None
        assert len(mesh.faces) > 0
        assert int(mesh.faces.max()) < len(mesh.vertices) == len(mesh.colours)
        assert not mesh.colours.requires_grad
        assert 0 <= float(mesh.colours.min()) <= float(mesh.colours.max()) <= 1
    assert watcher.picture.shape == (128, 128, 3)
    for stage in ("coarse", "geometry", "texture"):
        found, expected = (load_file(f.result(stage)) for f in (folder, finished[0]))
        for name in found:
            torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=0)


def test_a_stage_that_dies_while_writing_its_result_is_not_taken_for_finished(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "egg")
    shutil.copytree(finished[0].path, folder.path)
    folder.result("texture").unlink()

    def die(stage: TextureStage, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(TextureStage, "finish", die)
        with pytest.raises(OSError, match="No space"):
            drive(folder)
    assert not folder.result("texture").exists()
    drive(folder)
    found, expected = (load_file(f.result("texture")) for f in (folder, finished[0]))
    torch.testing.assert_close(found["colour"], expected["colour"], atol=1e-4, rtol=0)


def test_another_seed_makes_another_object(
    finished: Finished, tmp_path: Path, picture_file: Path, tiny_preset: Preset
) -> None:
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, seed=1, until="coarse")
    metrics = drive(folder)
    assert metrics is not None
    assert metrics["mesh"]["faces"] > 50
    assert (tmp_path / "egg.glb").is_file()
    assert not folder.result("geometry").exists()
    found, expected = (load_file(f.result("coarse"))["shape"] for f in (folder, finished[0]))
    assert (found - expected).abs().max() > 1e-3


def test_until_the_reference_makes_a_picture_from_words_and_no_mesh(tmp_path: Path, tiny_preset: Preset) -> None:
    folder = prepare(tmp_path / "mushroom.glb", tiny_preset, prompt="the Red mushrooms", until="reference")
    watcher = Watcher()
    assert drive(folder, watcher) is None
    assert watcher.sentences == ['Words used: "a red mushroom".']
    assert (folder.path / "reference.png").is_file()
    assert list(tmp_path.glob("*.glb")) == []
    drawn = Reference.load(folder.result("reference"), "a red mushroom", "cpu")
    assert drawn.surface == tiny_preset.reference.surface == 0


def test_the_surface_of_a_given_picture_is_relied_upon(finished: Finished) -> None:
    assert Reference.load(finished[0].result("reference"), "an egg", "cpu").surface == 1


# folders and presets


def test_an_older_run_in_the_same_place_is_kept_aside(tmp_path: Path, tiny_preset: Preset) -> None:
    for i in range(3):
        folder = prepare(tmp_path / "egg.glb", tiny_preset, seed=i, prompt="a red egg")
        (tmp_path / "egg.glb").write_text(str(i))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["egg", "egg-1", "egg-2", "egg.glb"]
    assert RunFolder.open(folder.path)[1].seed == 2
    assert RunFolder.open(tmp_path / "egg-1")[1].seed == 0
    assert (tmp_path / "egg-2" / "egg.glb").read_text() == "1"


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, tiny_preset: Preset) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of it")
    with pytest.raises(UserError, match="not a run"):
        prepare(tmp_path / "work.glb", tiny_preset)
    assert (tmp_path / "work" / "thesis.txt").read_text() == "years of it"


def test_a_run_that_was_moved_goes_on_where_it_is(
    tmp_path: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere" / "egg"
    shutil.copytree(finished[0].path, moved)
    monkeypatch.chdir(tmp_path)
    drive(RunFolder(moved))
    assert (tmp_path / "elsewhere" / "egg.glb").is_file()


def test_every_preset_reads_and_says_what_it_is() -> None:
    assert {"embedded", "draft", "paper"} <= set(preset_names())
    for name in preset_names():
        preset = load_preset(name)
        assert preset.name == name
        assert preset.about
    with pytest.raises(UserError, match="no preset"):
        load_preset("../embedded")


def test_the_papers_representations_run_through_every_stage(tmp_path: Path, picture_file: Path) -> None:
    """Hash grid, NeRF then NeuS, DMTet, rounds of BSD: a few steps of each, on small pictures, by the embedded priors."""
    values = load_preset("paper").model_dump() | {"priors": {}}
    values["coarse"] |= {"picture": 16, "samples": 48, "density_steps": 2, "sdf_steps": 2}
    values["geometry"] |= {"resolution": 40, "picture": 48, "steps": 2, "faces": 3000}
    values["texture"] |= {"picture": 48, "restore_levels": [0.5, 0.3], "restored_views": 2, "restore_steps": 3}
    values["texture"] |= {"dreambooth_steps": 1, "distil_steps": 1, "colour_resolution": 32}
    for stage in ("coarse", "geometry"):
        values[stage]["distillation"]["views"] = 1
    values["export"] |= {"texture": 256, "sheet": 32}
    watcher = Watcher()
    folder = prepare(tmp_path / "egg.glb", Preset.model_validate(values), image=picture_file)
    metrics = drive(folder, watcher)
    assert metrics is not None
    assert watcher.ends == ["reference", "coarse", "geometry", "texture"]
    assert 2500 < metrics["mesh"]["faces"] <= 3000


def test_stages_that_are_ended_early_leave_whole_results_that_the_next_ones_go_on_from(
    finished: Finished, tmp_path: Path, picture_file: Path, tiny_preset: Preset
) -> None:
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file)
    early = {"coarse": 1, "geometry": 2, "texture": 1}  # of which the last is in the DreamBooth's part of its round
    watcher = Watcher(next_after=early)
    metrics = drive(folder, watcher)
    assert metrics is not None
    assert {stage: numbers["steps"] for stage, numbers in metrics["stages"].items() if stage in early} == early
    assert watcher.ends == ["reference", "coarse", "geometry", "texture"]
    assert watcher.sentences[-1] == "Ended after 1 of 4 steps, as was asked."
    assert metrics["mesh"]["watertight"]
    assert metrics["reference_view"]["mask_iou"] > 0.5
    assert not folder.checkpoint.exists()
    assert metrics.keys() == finished[1].keys()


def test_a_stage_that_was_ended_early_and_killed_at_once_has_lost_nothing(
    tmp_path: Path, picture_file: Path, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state that was to be finished is in the checkpoint, and ends early again if that is asked again."""
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="geometry")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as power_cut:
        power_cut.setattr(GeometryStage, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            drive(folder, Watcher(next_after={"geometry": 2}))
    assert not folder.result("geometry").exists()
    watcher = Watcher(next_after={"geometry": 2})
    drive(folder, watcher)
    assert watcher.steps == [("geometry", 3)]
    assert folder.result("geometry").is_file()


def test_a_stage_without_a_surface_goes_on_until_it_has_one(
    tmp_path: Path, picture_file: Path, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse")
    shown, surface = list[int](), CoarseStage.surface

    def late(stage: CoarseStage) -> object:
        shown.append(1)
        return None if len(shown) < 3 else surface(stage)

    monkeypatch.setattr(CoarseStage, "surface", late)
    watcher = Watcher(next_after={"coarse": 1})
    drive(folder, watcher)
    assert watcher.steps[-1] == ("coarse", 3)


def tear(checkpoint: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of a weight, which PyTorch alone would read
    checkpoint.write_bytes(content)


@pytest.mark.parametrize(
    ("torn", "begun", "sentence"),
    [(("checkpoint",), 2, "one before it"), (("checkpoint", "checkpoint_before"), 0, "begins anew")],
)
def test_a_torn_checkpoint_costs_no_more_than_it_holds_and_the_artist_is_told(
    tmp_path: Path,
    picture_file: Path,
    tiny_preset: Preset,
    monkeypatch: pytest.MonkeyPatch,
    torn: tuple[str, ...],
    begun: int,
    sentence: str,
) -> None:
    monkeypatch.setattr("dreamcraft3d.pipeline.driver.CHECKPOINT_SECONDS", -1.0)
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse")
    with pytest.raises(Stopped):
        drive(folder, Watcher(("coarse", 3)))
    for name in torn:
        tear(getattr(folder, name))
    watcher = Watcher(("coarse", 4))
    with pytest.raises(Stopped):
        drive(folder, watcher)
    assert [stage for stage, _, done in watcher.begun if done == begun] == ["coarse"]
    assert any(sentence in told for told in watcher.sentences)


def test_a_torn_checkpoint_never_takes_the_place_of_a_good_one(
    tmp_path: Path, picture_file: Path, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamcraft3d.pipeline.driver.CHECKPOINT_SECONDS", -1.0)
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse")
    for stop, begun in (
        (3, 0),
        (3, 2),
        (3, 2),
    ):  # the newest is torn, one step is done again, and the newest is torn again
        watcher = Watcher(("coarse", stop))
        with pytest.raises(Stopped):
            drive(folder, watcher)
        assert [done for stage, _, done in watcher.begun if stage == "coarse"] == [begun]
        tear(folder.checkpoint)
    assert folder.checkpoint_damaged.is_file()
    folder.drop_checkpoints()
    assert not list(folder.path.glob("checkpoint*"))
