"""Runs that go on from what an earlier one has made."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import Finished, Watcher, drive, go_on
from safetensors.torch import load_file
from trimesh import Trimesh

from dreamcraft3d.pipeline.coarse import load_field, taken_over
from dreamcraft3d.pipeline.config import Preset, StageName, changed
from dreamcraft3d.pipeline.driver import Stopped
from dreamcraft3d.pipeline.geometry import load_shape
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_folder import RunFolder

CPU = torch.device("cpu")


@pytest.fixture
def idle(tiny_preset: Preset) -> Preset:
    """Stages that take no steps, so that what they start from is what they end with."""
    none = {"density_steps": 0, "sdf_steps": 0, "fit_steps": 0}
    texture = {"dreambooth_steps": 0, "distil_steps": 0, "restore_levels": []}
    return changed(tiny_preset, {"coarse": none, "geometry": {"steps": 0}, "texture": texture})


def shape_of(path: Path) -> Trimesh:
    mesh, _ = load_shape(path, CPU)
    return Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


def gone_on(output: Path, preset: Preset, base: RunFolder, stage: StageName) -> RunFolder:
    """A run of one stage from its own earlier result."""
    folder = go_on(output, preset, base, stage, first=stage, until=stage)
    drive(folder)
    return folder


def test_more_steps_of_a_coarse_shape_start_from_it(finished: Finished, tmp_path: Path, idle: Preset) -> None:
    folder = gone_on(tmp_path / "out.glb", idle, finished[0], "coarse")
    made, before = (load_file(run.result("coarse")) for run in (folder, finished[0]))
    assert made.keys() == before.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(made[name], tensor)


def test_more_steps_of_a_shape_start_from_it(finished: Finished, tmp_path: Path, idle: Preset) -> None:
    folder = gone_on(tmp_path / "out.glb", idle, finished[0], "geometry")
    made, before = (shape_of(run.result("geometry")) for run in (folder, finished[0]))
    cell = 2 * idle.half_extent / idle.geometry.given_resolution
    np.testing.assert_allclose(made.bounds, before.bounds, atol=cell)
    assert made.volume == pytest.approx(before.volume, rel=0.1)


def test_more_steps_of_a_painting_start_from_it(finished: Finished, tmp_path: Path, idle: Preset) -> None:
    folder = gone_on(tmp_path / "out.glb", idle, finished[0], "texture")
    (mesh, colour), (before, painted) = (load_shape(run.result("texture"), CPU) for run in (folder, finished[0]))
    torch.testing.assert_close(mesh.vertices, before.vertices)
    torch.testing.assert_close(colour(mesh.vertices), painted(mesh.vertices), atol=0.02, rtol=0)
    assert folder.result("reference").read_bytes() == finished[0].result("reference").read_bytes()


def test_other_words_repaint_a_shape_that_is_gone_since(
    finished: Finished, tmp_path: Path, tiny_preset: Preset
) -> None:
    """The run is stopped on its way, too."""
    base = RunFolder(Path(shutil.copytree(finished[0].path, tmp_path / "base")))
    folder = go_on(tmp_path / "out.glb", tiny_preset, base, "geometry", first="texture", prompt="a blue egg")
    shutil.rmtree(base.path)
    watcher = Watcher(("texture", 2))
    with pytest.raises(Stopped):
        drive(folder, watcher)
    assert {stage for stage, _ in watcher.steps} == {"texture"}
    rest = Watcher()
    drive(folder, rest)
    assert rest.steps[0] == ("texture", 3)
    mesh, colour = load_shape(folder.result("texture"), CPU)
    before, painted = load_shape(finished[0].result("geometry"), CPU)
    torch.testing.assert_close(mesh.vertices, before.vertices)
    bluer = (colour(mesh.vertices) - painted(mesh.vertices)).mean(dim=0)
    assert bluer[2] > bluer[0] + 0.05
    reference = Reference.load(folder.result("reference"), "", CPU)
    given = Reference.load(finished[0].result("reference"), "", CPU)
    assert (reference.rgb - given.rgb).abs().mean() > 0.01


def test_a_result_is_read_by_what_is_in_it_and_not_by_the_new_preset(
    finished: Finished, tmp_path: Path, idle: Preset
) -> None:
    larger = changed(idle, {"half_extent": 1.0, "coarse": {"resolution": 30}})
    folder = go_on(tmp_path / "out.glb", larger, finished[0], "coarse", first="texture")
    drive(folder)
    made, before = shape_of(folder.result("texture")), shape_of(finished[0].result("geometry"))
    cell = 2 * larger.half_extent / larger.geometry.resolution
    np.testing.assert_allclose(made.bounds, before.bounds, atol=2 * cell)


def test_a_field_is_taken_over_by_a_lattice_of_another_size(finished: Finished, tiny_preset: Preset) -> None:
    field = load_field(finished[0].result("coarse"), CPU)
    other = changed(tiny_preset, {"coarse": {"resolution": 2 * tiny_preset.coarse.resolution}})
    made = taken_over(field, other.coarse, 1.0)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    assert (made.half_extent, made.surface) == (1.0, field.surface)
    agree = (made.signed_distance(points) < 0) == (field.signed_distance(points) < 0)
    assert agree.float().mean() > 0.97
    assert (made.albedo(points) - field.albedo(points)).abs().mean() < 0.02
