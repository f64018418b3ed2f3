"""One whole run, a mesh that is no result of ours, and tiny models where downloads would have put full-size ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh
from runs import HALF, STEPS, Finished, drive, prepare
from tiny_models import save_deepfloyd, save_zero123
from tiny_pictures import save_blip, save_marigold, save_matting, save_stable_diffusion

from dreamcraft3d.pipeline.config import Preset, load_preset


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


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_deepfloyd(folder / "deepfloyd-if-xl")
    save_zero123(folder / "zero123-xl", None)
    save_stable_diffusion(folder / "stable-diffusion-2-1-base")
    save_marigold(folder / "marigold-depth", "depth")
    save_marigold(folder / "marigold-normals", "normals")
    save_blip(folder / "blip")
    (folder / "birefnet").mkdir()
    save_matting(
        folder / "birefnet" / "model.onnx", side=80, gain=-40.0, offset=76.0
    )  # what lacks red, as no white does
    return folder


@pytest.fixture
def models(saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models lie; text embeddings are cached beside them."""
    monkeypatch.setenv("DREAMCRAFT3D_MODELS", str(saved_models))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return saved_models


@pytest.fixture(scope="session")
def small_paper(tiny_preset: Preset) -> Preset:
    """The paper's priors and losses at the smallest sizes, twenty steps a stage."""
    tiny, values = tiny_preset.model_dump(), load_preset("paper").model_dump()
    values["reference"] |= {"candidates": 1, "steps": 4}
    values["coarse"] |= {"picture": 24, "samples": 24, "density_steps": HALF, "sdf_steps": HALF}
    values["geometry"] |= {"resolution": 12, "colour_resolution": 16, "picture": 32, "steps": STEPS}
    values["texture"] |= {"colour_resolution": 24, "picture": 32, "restored_views": 2, "restore_steps": 4}
    values["texture"] |= {"restore_levels": [0.5, 0.3], "dreambooth_steps": 4, "distil_steps": 6}
    for stage in ("coarse", "geometry"):
        values[stage]["distillation"]["views"] = 1
    values["texture"] |= {"views": 1, "dreambooth_batch": 1}
    values["export"] = tiny["export"]
    return Preset.model_validate(values)


@pytest.fixture(scope="session")
def small_released(small_paper: Preset) -> Preset:
    """The same of the released code."""
    tiny, values = small_paper.model_dump(), load_preset("as-released").model_dump()
    values["priors"]["view"] = tiny["priors"]["view"]
    for section in ("reference", "export"):
        values[section] = tiny[section]
    for section, names in {
        "coarse": ("picture", "samples", "density_steps", "sdf_steps"),
        "geometry": ("resolution", "colour_resolution", "picture", "steps"),
        "texture": (
            "colour_resolution",
            "picture",
            "restore_levels",
            "restore_steps",
            "dreambooth_steps",
            "distil_steps",
        ),
    }.items():
        values[section] |= {name: tiny[section][name] for name in names}
    values["texture"]["restore_every"] = 2
    return Preset.model_validate(values)
