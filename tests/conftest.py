"""What many tests share: the shipped prior, a picture of an object, and the smallest settings that run every stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import trimesh
from PIL import Image

from dreamcraft3d.pipeline.config import Preset, load_preset
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.mesh import Mesh


@pytest.fixture(scope="session")
def prior() -> EmbeddedPrior:
    """The prior that ships in the package, frozen."""
    return EmbeddedPrior.load().requires_grad_(False)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a red egg with a blue top, on white, neither square nor in the middle."""
    egg = trimesh.creation.icosphere(3, 0.4)
    egg.apply_scale((1.0, 1.0, 1.35))
    vertices = torch.tensor(egg.vertices, dtype=torch.float32)
    top = vertices[:, 2:] > 0.25
    colours = torch.where(top, torch.tensor([0.2, 0.35, 0.85]), torch.tensor([0.85, 0.2, 0.15]))
    picture = render_mesh(Mesh(vertices, torch.tensor(egg.faces), colours), Cameras.at(0.0), 160).rgb[0]
    path = tmp_path_factory.mktemp("pictures") / "egg.png"
    Image.fromarray((picture[5:, 20:] * 255).round().byte().numpy()).save(path)
    return path


@pytest.fixture(scope="session")
def tiny_preset() -> Preset:
    """The draft preset with a few steps of everything, a NeuS phase among them."""
    values = load_preset("draft").model_dump()
    values["name"] = "tiny"
    values["reference"] |= {"candidates": 2, "steps": 10}
    values["coarse"] |= {"resolution": 24, "picture": 32, "samples": 40, "density_steps": 2, "sdf_steps": 2}
    values["coarse"] |= {"sampled_views": 3, "sampled_view_steps": 3, "fit_steps": 4, "eikonal": 0.1}
    values["geometry"] |= {"resolution": 12, "colour_resolution": 16, "picture": 48, "steps": 4}
    values["texture"] |= {"colour_resolution": 24, "picture": 48, "restored_views": 2, "restore_steps": 4}
    values["texture"] |= {"dreambooth_steps": 2, "dreambooth_batch": 2, "distil_steps": 2}
    values["export"] |= {"texture": 256, "sheet": 48}
    return Preset.model_validate(values)
