"""Meshes as a start: painted, sculpted, and back in their place."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
import trimesh
from runs import Watcher, bounds, drive, prepare
from scipy.spatial import cKDTree
from torch import Tensor

from dreamcraft3d.pipeline.config import Preset, load_preset
from dreamcraft3d.pipeline.estimators import Estimators
from dreamcraft3d.pipeline.given import fit_mesh
from dreamcraft3d.pipeline.reference import Reference, in_colours_of, reference_from_mesh
from dreamcraft3d.priors.base import Drawing, Priors
from dreamcraft3d.priors.colour_names import dominant_colours
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import load_mesh

LOOKERS = Estimators(torch.device("cpu"))


def with_redrawn(preset: Preset, level: float) -> Preset:
    return preset.model_copy(update={"reference": preset.reference.model_copy(update={"redrawn": level})})


@pytest.mark.parametrize("extents", [(1.0, 1.0, 1.0), (30.0, 0.1, 0.1), (0.1, 9.0, 0.2)])
def test_any_mesh_is_fitted_into_the_box_and_finds_its_way_back(extents: tuple[float, float, float]) -> None:
    box = trimesh.creation.box(extents)
    vertices = torch.tensor(box.vertices, dtype=torch.float32) + torch.tensor([5.0, 6.0, 7.0])
    fitted, placement = fit_mesh(Mesh(vertices, torch.tensor(box.faces)), 0.8)
    assert fitted.vertices.abs().max() <= 0.8
    torch.testing.assert_close(placement.restore(fitted.vertices), vertices, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("redrawn", "rounds"), [(0.0, 1), (0.8, 2)], ids=["recoloured", "redrawn"])
def test_a_painted_mesh_keeps_its_shape_place_and_size(
    odd_box: Path, tmp_path: Path, tiny_preset: Preset, redrawn: float, rounds: int
) -> None:
    preset = with_redrawn(tiny_preset, redrawn)
    folder = prepare(tmp_path / "out.glb", preset, mesh=odd_box, prompt="a brown box", first="texture")
    watcher = Watcher()
    drive(folder, watcher)
    assert {stage for stage, _ in watcher.steps} == {"texture"}
    assert len(watcher.steps) == rounds * 4  # where the front was redrawn, a first round paints over what was there
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


def test_a_sculpted_blade_stays_in_one_piece(tmp_path: Path, tiny_preset: Preset) -> None:
    blade = trimesh.creation.box((0.01, 1.0, 1.0))
    blade.apply_transform(trimesh.transformations.rotation_matrix(0.4, (1.0, 2.0, 3.0)))
    blade.export(tmp_path / "blade.ply")
    folder = prepare(
        tmp_path / "out.glb",
        tiny_preset,
        mesh=tmp_path / "blade.ply",
        prompt="a wooden sign",
        first="geometry",
        until="geometry",
    )
    metrics = drive(folder)
    assert metrics is not None
    assert metrics["mesh"]["components"] == 1
    made = trimesh.load(tmp_path / "out.glb", force="mesh")
    assert made.area > 0.8 * blade.area


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


class Painter:
    """Priors as far as a mesh's reference asks them: red squares are drawn, and redrawn in blue and in a corner."""

    picture_size = 64

    @staticmethod
    def square(low: int, high: int, *colour: float) -> Tensor:
        picture = torch.ones(1, 64, 64, 3)
        picture[:, low:high, low:high] = torch.tensor(colour)
        return picture

    def draw(self, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        return self.square(20, 44, 0.8, 0.1, 0.1)

    def redraw(self, picture: Tensor, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        return self.square(8, 32, 0.1, 0.1, 0.8)

    def palette(self, drawn: Tensor, prompt: str) -> Tensor:
        return drawn


@pytest.mark.parametrize("redrawn", [0.0, 0.8], ids=["recoloured", "redrawn"])
def test_the_reference_of_a_mesh_has_the_words_colours_in_all_its_outline(tiny_preset: Preset, redrawn: float) -> None:
    ball = trimesh.creation.icosphere(3, 0.45)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces))
    settings = with_redrawn(tiny_preset, redrawn).reference
    reference = reference_from_mesh(cast(Priors, Painter()), "a box", mesh, settings, torch.Generator(), LOOKERS)
    inside = reference.rgb[reference.mask[..., 0] > 0.99]
    wanted, other = (2, 0) if redrawn else (0, 2)
    assert inside[:, wanted].min() > 0.5
    assert inside[:, [1, other]].max() < 0.35
    assert reference.rgb[0, 0, 0].tolist() == [1, 1, 1]


def test_a_mesh_starts_in_the_colours_of_its_reference(tiny_preset: Preset) -> None:
    ball = trimesh.creation.icosphere(3, 0.45)
    colours = torch.rand(len(ball.vertices), 3, generator=torch.Generator().manual_seed(1))
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces), colours)
    settings = tiny_preset.reference
    reference = reference_from_mesh(cast(Priors, Painter()), "a box", mesh, settings, torch.Generator(), LOOKERS)
    painted = in_colours_of(mesh, reference)
    assert painted.colours is not None
    views = render_mesh(painted, Cameras.at(0.0), 64)
    inside = views.mask[..., 0] > 0.99
    torch.testing.assert_close(views.rgb[inside].mean(0), reference.rgb[inside].mean(0), atol=0.05, rtol=0)


@pytest.mark.parametrize("prompt", ["a red car", "a yellow car", "a blue mushroom", "a white chair", "a black apple"])
def test_a_grey_mesh_starts_in_the_colour_that_the_words_give_it(prior: EmbeddedPrior, prompt: str) -> None:
    ball = trimesh.creation.icosphere(3, 0.45)
    greys = torch.linspace(0.3, 0.7, len(ball.vertices))[:, None].expand(-1, 3)
    mesh = Mesh(torch.tensor(ball.vertices, dtype=torch.float32), torch.tensor(ball.faces), greys)
    settings, seed = load_preset("draft").reference, torch.Generator().manual_seed(1)
    reference = reference_from_mesh(EmbeddedPriors(prior), prompt, mesh, settings, seed, LOOKERS)
    colours = in_colours_of(mesh, reference).colours
    assert colours is not None
    assert prompt.split()[1] in dominant_colours(255 * colours.numpy())
