"""The embedded depth and normal estimator: what it says of plain solids, and its trainer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.surface import MARGIN, Box, Surface, SurfaceEstimator
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training import surface as training
from dreamcraft3d.training.surface import (
    SurfaceBatch,
    SurfacePictures,
    _eroded,
    augment,
    baseline,
    loss_of,
    scores_of,
)

SOLIDS: dict[str, Callable[[], trimesh.Trimesh]] = {
    "sphere": lambda: trimesh.creation.icosphere(subdivisions=3, radius=0.42),
    "cube": lambda: trimesh.creation.box(extents=(0.6, 0.6, 0.6)),
    "cylinder": lambda: trimesh.creation.cylinder(radius=0.3, height=0.8, sections=48),
}
COLOUR = torch.tensor([0.75, 0.35, 0.25])


def solid(name: str) -> Mesh:
    shape = SOLIDS[name]()
    vertices = torch.from_numpy(np.asarray(shape.vertices)).float()
    return Mesh(vertices, torch.from_numpy(np.asarray(shape.faces)), COLOUR.expand(len(vertices), 3).contiguous())


def picture(name: str, azimuth: float = 30.0, elevation: float = 20.0, size: int = 128) -> SurfaceBatch:
    """A solid seen from one side, with its normals turned into the camera's axes."""
    camera = Cameras.at(azimuth, elevation)
    views = render_views(solid(name), camera, size)
    normal = views.normal @ camera.c2w[0, :3, :3]
    return SurfaceBatch(views.rgb, views.mask, normal, views.depth)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def estimator() -> SurfaceEstimator:
    return SurfaceEstimator.load()


def angle(a: Tensor, b: Tensor, mask: Tensor) -> float:
    """Mean degrees between unit vectors (B, S, S, 3) where ``mask`` (B, S, S, 1) exceeds one half."""
    return torch.rad2deg((a * b).sum(-1).clamp(-1, 1).acos())[mask[..., 0] > 0.5].mean().item()


@pytest.mark.parametrize("name", SOLIDS)
def test_normals_are_far_better_than_facing_the_camera(estimator: SurfaceEstimator, name: str) -> None:
    truth = picture(name)
    estimate = estimator.estimate(truth.rgb, truth.mask)
    found = scores_of(estimate.depth, estimate.normal, truth).angle
    plain = scores_of(*baseline(truth.mask), truth).angle
    assert found < min(20.0, 0.5 * plain)


@pytest.mark.parametrize("name", SOLIDS)
def test_depth_follows_the_true_depth(estimator: SurfaceEstimator, name: str) -> None:
    truth = picture(name)
    estimate = estimator.estimate(truth.rgb, truth.mask)
    assert scores_of(estimate.depth, estimate.normal, truth).correlation > 0.8


def test_depth_runs_from_nearest_to_farthest_inside_the_mask(estimator: SurfaceEstimator) -> None:
    truth = picture("sphere")
    estimate = estimator.estimate(truth.rgb, truth.mask)
    inside = estimate.depth[truth.mask > 0.5]
    assert inside.min() == 0
    assert inside.max() == 1
    assert estimate.depth[0, 64, 64] < 0.15  # the middle of a sphere is its nearest point


def test_nothing_is_said_outside_the_mask(estimator: SurfaceEstimator) -> None:
    truth = picture("cylinder", size=100)
    estimate = estimator.estimate(truth.rgb, truth.mask)
    outside = truth.mask[..., 0] <= 0.5
    assert not estimate.depth[outside].any()
    assert not estimate.normal[outside].any()
    torch.testing.assert_close(estimate.normal[~outside].norm(dim=-1), torch.ones(int((~outside).sum())))


def test_a_mirrored_picture_has_mirrored_normals(estimator: SurfaceEstimator) -> None:
    truth = picture("cube")
    estimate = estimator.estimate(truth.rgb, truth.mask)
    mirrored = estimator.estimate(truth.rgb.flip(2), truth.mask.flip(2))
    back = mirrored.normal.flip(2) * torch.tensor([-1.0, 1.0, 1.0])
    assert angle(estimate.normal, back, truth.mask) < 8
    assert angle(estimate.normal, mirrored.normal.flip(2), truth.mask) > 30


@pytest.mark.parametrize("size", [64, 256])
def test_the_size_of_the_picture_hardly_matters(estimator: SurfaceEstimator, size: int) -> None:
    truth = picture("cube", size=size)
    estimate = estimator.estimate(truth.rgb, truth.mask)
    assert estimate.depth.shape == (1, size, size, 1)
    assert estimate.normal.shape == (1, size, size, 3)
    scores = scores_of(estimate.depth, estimate.normal, truth)
    assert scores.angle < 20
    assert scores.correlation > 0.8


def test_a_thin_line_still_gets_finite_answers(estimator: SurfaceEstimator) -> None:
    mask = torch.zeros(1, 512, 512, 1)
    mask[:, 50:460, 256] = 1
    surface: Surface = estimator.estimate(1 - 0.5 * mask.expand(-1, -1, -1, 3), mask)
    assert surface.depth.isfinite().all()
    assert (surface.normal.norm(dim=-1, keepdim=True) > 0.5).equal(mask > 0.5)


def test_an_empty_mask_gives_an_empty_surface(estimator: SurfaceEstimator) -> None:
    surface = estimator.estimate(torch.ones(1, 128, 128, 3), torch.zeros(1, 128, 128, 1))
    assert not surface.depth.any()
    assert not surface.normal.any()


def test_saving_and_loading_keeps_the_estimates(estimator: SurfaceEstimator, tmp_path: Path) -> None:
    truth = picture("sphere")
    estimator.save(tmp_path / "copy")
    again = SurfaceEstimator.load(tmp_path / "copy").estimate(truth.rgb, truth.mask)
    torch.testing.assert_close(again.normal, estimator.estimate(truth.rgb, truth.mask).normal)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        SurfaceEstimator.load(tmp_path)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three solids, each seen from its front and three sides, in the layout of ``training/views.py``."""
    folder = tmp_path_factory.mktemp("cache")
    cameras = Cameras(torch.tensor([0.0, 40.0, 150.0, -70.0]), torch.tensor([0.0, 30.0, 10.0, 50.0]))
    views = [render_views(solid(name), cameras, 128) for name in SOLIDS]
    geometry = [torch.cat([v.mask, v.normal / 2 + 0.5, v.depth / 2 + 0.5], dim=-1) for v in views]
    angles = torch.stack([cameras.azimuth, cameras.elevation], dim=-1).numpy()
    for split in ("train", "val"):
        (folder / "views" / split).mkdir(parents=True)
        for name, tensors in (("rgb", [v.rgb for v in views]), ("geometry", geometry)):
            pixels = (torch.stack(tensors).clamp(0, 1) * 255).round().byte().numpy()
            np.save(folder / "views" / split / f"{name}.npy", pixels)
        np.save(folder / "views" / split / "cameras.npy", np.stack([angles] * len(views)))
    return folder


def test_cached_normals_are_turned_into_the_cameras_axes(cache: Path) -> None:
    read = SurfacePictures(cache, "val").views(np.array([1]), np.array([1]))
    cube = Cameras.at(40.0, 30.0).c2w[0, :3, :3].T @ torch.eye(3)  # its faces' normals in the camera's axes
    inside = read.normal[_eroded(read.mask)[..., 0] > 0]
    best = (inside @ cube).abs().amax(dim=-1)
    assert (best > 0.99).float().mean() > 0.9
    assert inside[:, 2].min() > 0


def test_the_depth_of_a_boxed_sphere_is_in_sides_of_its_box(cache: Path) -> None:
    read = SurfacePictures(cache, "val").views(np.array([0]), np.array([0]))
    inside = _eroded(read.mask)[..., 0] > 0
    facing, depth = read.normal[inside][:, 2], read.depth[inside][:, 0]
    covariance = torch.cov(torch.stack([-facing, depth]))
    radius = covariance[0, 1] / covariance[0, 0]  # a sphere's depth is its centre's less its radius times n_z
    assert radius == pytest.approx(0.5 / MARGIN, rel=0.08)


def test_the_truth_costs_nothing_however_far_away(cache: Path) -> None:
    truth = SurfacePictures(cache, "val").views(np.arange(3), np.zeros(3, dtype=int))
    assert loss_of(truth.depth + 2.5, truth.normal, truth) == pytest.approx(0.01, abs=1e-4)  # the distance's floor
    assert loss_of(-truth.depth, truth.normal, truth) > 0.1
    assert loss_of(truth.depth, -truth.normal, truth) > 1.5


def test_augmented_pictures_keep_a_white_background_and_true_normals(cache: Path) -> None:
    sphere = SurfacePictures(cache, "val").views(np.zeros(12, dtype=int), np.zeros(12, dtype=int))
    batch = augment(sphere, np.random.default_rng(0))
    assert batch.rgb[batch.mask[..., 0] == 0].eq(1).all()
    # A sphere seen from its front: normals point away from its middle, where it is brightest.
    for rgb, mask, normal in zip(batch.rgb, batch.mask, batch.normal, strict=True):
        inside = mask[..., 0] > 0.99
        side = torch.linspace(-1, 1, len(mask)).expand(inside.shape)
        assert torch.corrcoef(torch.stack([side[inside], normal[..., 0][inside]]))[0, 1] > 0.95
        assert torch.corrcoef(torch.stack([-side.T[inside], normal[..., 1][inside]]))[0, 1] > 0.95
        assert torch.corrcoef(torch.stack([rgb.mean(-1)[inside], normal[..., 2][inside]]))[0, 1] > 0.7


def test_a_boxed_and_unboxed_picture_is_itself() -> None:
    picture = torch.rand(40, 40, 2)
    mask = torch.zeros(40, 40, 1)
    mask[2:30, 35:39] = 1
    box = Box.around(mask)
    assert box.left + box.side > 40  # it leaves the picture
    assert box.cut(picture, 7.0).shape == (box.side, box.side, 2)
    back = box.paste(box.cut(picture, 7.0), 40)
    assert (back == picture)[mask.bool().expand_as(picture)].all()
    assert not back[:, :20].any()


def test_the_trainer_learns_and_goes_on_where_it_was(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCH", 4)
    for steps in (3, 5):
        training.main(cache, cache, steps=steps, lr=0.05, every=1)
    first, *records = [json.loads(line) for line in (cache / "surface.jsonl").read_text().splitlines()]
    assert set(first) == {"baseline angle", "baseline correlation"}
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5]
    assert records[-1]["val"] < records[0]["val"]
    assert (cache / "surface/model.safetensors").stat().st_size < 4e6
    SurfaceEstimator.load(cache / "surface")
