"""Meshes as a start: painted, sculpted, and back in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from runs import Watcher, bounds, drive, prepare
from scipy.spatial import cKDTree
from torch import Tensor

from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.driver import fit_mesh
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import load_mesh


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
