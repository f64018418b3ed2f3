"""One whole run, and a mesh that is no result of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh
from runs import Finished, drive, prepare

from dreamcraft3d.pipeline.config import Preset


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
