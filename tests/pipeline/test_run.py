"""Whole runs, made as small as they go: what they leave on disk, stopping, resuming, repeating, meshes as a start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_file
from scipy.spatial import cKDTree
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.pipeline.coarse import CoarseStage, as_signed_distance, load_field, make_field
from dreamcraft3d.pipeline.config import Preset, StageName, load_preset, preset_names
from dreamcraft3d.pipeline.driver import Driver, Stopped, fit_mesh
from dreamcraft3d.pipeline.losses import mask_error, masked_rgb, negative_pearson, normal_cosine
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.pipeline.sampled import outlines
from dreamcraft3d.pipeline.stage import Context
from dreamcraft3d.pipeline.texture import TextureStage
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.render.camera import half_height
from dreamcraft3d.shape.field import SURFACE_LOGIT, DenseField
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import load_mesh

Finished = tuple[RunFolder, dict[str, Any]]


class Watcher:
    """Writes down what it is told, and stops the run where it is asked to."""

    def __init__(self, stop_after: tuple[str, int] | None = None, shows: bool = False) -> None:
        self.stop_after, self.shows = stop_after, shows
        self.surfaces: list[tuple[str, Mesh | None]] = []
        self.sentences: list[str] = []
        self.steps: list[tuple[str, int]] = []
        self.begun: list[tuple[str, int, int]] = []
        self.ends: list[str] = []

    def said(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def began(self, stage: str, steps: int, done: int) -> None:
        self.begun.append((stage, steps, done))

    def stepped(self, stage: str, done: int, losses: dict[str, float]) -> None:
        assert all(np.isfinite(value) for value in losses.values()), losses
        self.steps.append((stage, done))

    def ended(self, stage: str, seconds: float) -> None:
        self.ends.append(stage)

    def pictured(self, picture: Tensor) -> None:
        self.picture = picture

    def shaped(self, stage: str, surface: Callable[[], Mesh | None]) -> None:
        if self.shows:
            self.surfaces.append((stage, surface()))

    def wants_stop(self) -> bool:
        return self.stop_after is not None and self.steps[-1:] == [self.stop_after]


def prepare(output: Path, preset: Preset, **asked: Any) -> RunFolder:
    """A run's folder, ready to be driven."""
    files = {"image": asked.pop("image", None), "mesh": asked.pop("mesh", None)}
    folder, copies = RunFolder.create(output, files)
    asked = {"prompt": "", "seed": 0, "first": "coarse", "until": "texture"} | asked
    folder.write_request(Request(output=output.name, preset=preset, version="0", **copies, **asked))
    return folder


def drive(folder: RunFolder, watcher: Watcher | None = None) -> dict[str, Any] | None:
    """Start or go on as a new process would."""
    reopened, request = RunFolder.open(folder.path)
    return Driver(request, reopened, watcher or Watcher()).run()


def bounds(path: Path) -> np.ndarray:
    return trimesh.load_scene(path).bounds


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, picture_file: Path, tiny_preset: Preset) -> Finished:
    """A run from a picture alone, uninterrupted."""
    folder = prepare(tmp_path_factory.mktemp("whole") / "egg.glb", tiny_preset, image=picture_file)
    metrics = drive(folder)
    assert metrics is not None
    return folder, metrics


@pytest.fixture(scope="session")
def odd_box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large box far from the origin and turned."""
    box = trimesh.creation.box((3.0, 5.0, 2.0)).subdivide().subdivide()
    turn = trimesh.transformations.rotation_matrix(0.5, (0.2, 0.3, 1.0))
    box.apply_transform(trimesh.transformations.translation_matrix((40.0, -7.0, 12.0)) @ turn)
    path = tmp_path_factory.mktemp("meshes") / "box.glb"
    box.export(path)
    return path


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


@pytest.mark.parametrize("blur", [0.5, 8.0])
@pytest.mark.parametrize("grey", [0.05, 0.6])
def test_the_outline_of_a_disc_is_as_large_whether_sharp_or_blurred(blur: float, grey: float) -> None:
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    disc = torch.sigmoid((20 - (x * x + y * y).sqrt()) * 2 / blur)
    picture = (1 - (1 - grey) * disc)[None, ..., None].expand(-1, -1, -1, 3)
    radius = float(outlines(picture).sum() / torch.pi) ** 0.5
    assert radius == pytest.approx(20, abs=2.5)


@pytest.mark.parametrize("encoding", ["dense", "hash"])
def test_a_coarse_stage_goes_on_from_its_state(
    encoding: str, finished: Finished, tiny_preset: Preset, prior: EmbeddedPrior
) -> None:
    """Both encodings, through the change from density to signed distance, without sampled views."""
    values = tiny_preset.model_dump()
    values["coarse"] |= {"encoding": encoding, "sampled_views": 0, "density_steps": 1, "sdf_steps": 1}
    values["coarse"] |= {"picture": 12, "samples": 20}
    preset = Preset.model_validate(values)
    reference = Reference.load(finished[0].result("reference"), "a red egg", "cpu")
    context = Context(preset, prior, reference, torch.device("cpu"), 3)
    whole, parts = CoarseStage(context), CoarseStage(context)
    assert whole.steps == 2
    for index in range(2):
        whole.step(index)
        torch.rand(1)  # nothing may hang on the global generator
        parts.step(index)
        state = parts.state()
        parts = CoarseStage(context)
        parts.restore(state)
    expected = whole.field.state_dict()
    for name, value in parts.field.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-5, rtol=0)


# parts


def test_nothing_is_lost_where_a_finished_field_is_read_again(finished: Finished, tiny_preset: Preset) -> None:
    field = load_field(finished[0].result("coarse"), tiny_preset.coarse, tiny_preset.half_extent, torch.device("cpu"))
    assert field.surface == "sdf"
    assert (field.signed_distance(torch.zeros(1, 3)) < 0).all()


def test_a_signed_distance_takes_over_where_the_density_stood(tiny_preset: Preset) -> None:
    values = tiny_preset.coarse.model_dump() | {"resolution": 33}
    settings = type(tiny_preset.coarse).model_validate(values)
    density = make_field(settings, 0.8, "density")
    ball = 0.5 * (1 - SURFACE_LOGIT / 10)  # where its logit, 10 (1 - r / 0.5), is that of a surface
    assert isinstance(density, DenseField)
    taken = as_signed_distance(density, settings)
    for radius, sign in ((ball - 0.05, -1), (ball + 0.05, 1)):
        directions = torch.nn.functional.normalize(
            torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1
        )
        assert (taken.signed_distance(directions * radius).sign() == sign).float().mean() > 0.99
    distance = taken.signed_distance(torch.tensor([[0.3, 0.0, 0.0], [0.0, 0.7, 0.0]]))
    assert distance.tolist() == pytest.approx([0.3 - ball, 0.7 - ball], abs=0.026)  # half a voxel


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
    """Hash grid, NeRF then NeuS, DMTet, rounds of BSD: a few steps of each, on small pictures and a coarse grid."""
    values = load_preset("paper").model_dump()
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


def test_losses_vanish_at_the_reference_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb, depth = (torch.rand(1, 8, 8, c, generator=generator) for c in (3, 1))
    normal = torch.nn.functional.normalize(torch.randn(1, 8, 8, 3, generator=generator), dim=-1)
    mask = (torch.rand(1, 8, 8, 1, generator=generator) > 0.4).float()
    found = [
        masked_rgb(rgb, rgb, mask), mask_error(mask, mask),
        negative_pearson(3 * depth + 1, depth, mask), normal_cosine(normal, normal, mask),
    ]  # fmt: skip
    assert [x.item() for x in found] == pytest.approx([0, 0, 0, 0], abs=1e-5)
    assert negative_pearson(-depth, depth, mask).item() == pytest.approx(2, abs=1e-5)
    assert normal_cosine(-normal, normal, mask).item() == pytest.approx(2, abs=1e-5)
    assert masked_rgb(rgb + 0.1, rgb, mask).item() == pytest.approx(0.01)
    assert masked_rgb(torch.where(mask > 0, rgb, 0), rgb, mask).item() == 0


def test_losses_of_an_empty_mask_are_nothing_and_have_a_gradient() -> None:
    mask = torch.zeros(1, 4, 4, 1)
    for loss in (negative_pearson, normal_cosine, masked_rgb):
        x = torch.rand(1, 4, 4, 3, requires_grad=True)
        value = loss(x, torch.rand(1, 4, 4, 3), mask)
        value.backward()
        assert value.item() == 0
        assert x.grad is not None
        assert not x.grad.any()


# meshes as a start


@pytest.mark.parametrize("extents", [(1.0, 1.0, 1.0), (30.0, 0.1, 0.1), (0.1, 9.0, 0.2)])
def test_any_mesh_is_fitted_into_the_box_and_finds_its_way_back(extents: tuple[float, float, float]) -> None:
    box = trimesh.creation.box(extents)
    vertices = torch.tensor(box.vertices, dtype=torch.float32) + torch.tensor([5.0, 6.0, 7.0])
    fitted, placement = fit_mesh(Mesh(vertices, torch.tensor(box.faces)), 0.8)
    assert fitted.vertices.abs().max() <= 0.8
    torch.testing.assert_close(placement.restore(fitted.vertices), vertices, atol=1e-3, rtol=0)


def test_a_painted_mesh_keeps_its_shape_place_and_size(odd_box: Path, tmp_path: Path, tiny_preset: Preset) -> None:
    folder = prepare(tmp_path / "out.glb", tiny_preset, mesh=odd_box, prompt="a brown box", first="texture")
    watcher = Watcher()
    drive(folder, watcher)
    assert {stage for stage, _ in watcher.steps} == {"texture"}
    assert len(watcher.steps) == 2 * 4  # a first round paints over what was there
    np.testing.assert_allclose(bounds(tmp_path / "out.glb"), bounds(odd_box), atol=1e-3)
    given, made = (load_mesh(path).vertices for path in (odd_box, tmp_path / "out.glb"))
    assert cKDTree(given).query(made)[0].max() < 1e-3
    scene = trimesh.load_scene(tmp_path / "out.glb")
    assert next(iter(scene.geometry.values())).visual.material.baseColorTexture is not None


def test_a_sculpted_mesh_stays_at_its_place_and_size(odd_box: Path, tmp_path: Path, tiny_preset: Preset) -> None:
    folder = prepare(
        tmp_path / "out.glb", tiny_preset, mesh=odd_box, prompt="a small house", first="geometry", until="geometry"
    )
    watcher = Watcher()
    metrics = drive(folder, watcher)
    assert metrics is not None
    assert {stage for stage, _ in watcher.steps} == {"geometry"}
    found, expected = bounds(tmp_path / "out.glb"), bounds(odd_box)
    size = np.ptp(expected, axis=0)
    assert np.abs(found - expected).max() < 0.15 * size.max()
    assert metrics["mesh"]["watertight"]


def test_the_reference_of_a_mesh_is_its_own_outline(odd_box: Path, tmp_path: Path, tiny_preset: Preset) -> None:
    folder = prepare(
        tmp_path / "out.glb", tiny_preset, mesh=odd_box, prompt="a brown box", first="texture", until="reference"
    )
    drive(folder)
    reference = Reference.load(folder.result("reference"), "a brown box", "cpu")
    inside: Tensor = reference.mask > 0.99
    assert inside.any()
    assert (reference.rgb[(reference.mask == 0).expand_as(reference.rgb)] == 1).all()
    assert reference.depth[inside].min() < 0.05
    assert reference.depth[inside].max() > 0.6
    assert (reference.normal[inside[..., 0]].norm(dim=-1) > 0.99).all()
    assert (reference.normal[inside[..., 0]][:, 0] > 0).all()  # toward the camera at +x
