"""The measures of quality, and the retrieval they are compared with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trimesh
from torch import Tensor

from dreamcraft3d.evaluate.retrieval import SIZE, Gallery, cut_from_white, front_of, in_front_box
from dreamcraft3d.picture.framing import FRONT_FILL, frame
from dreamcraft3d.picture.metrics import disagreement, mask_iou, psnr, sharpness
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects

RED, BLUE = (200, 40, 40), (40, 40, 200)


def square(top: int, left: int, side: int, size: int = 32) -> Tensor:
    mask = torch.zeros(size, size, 1)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_psnr_of_a_constant_error_is_that_of_its_square() -> None:
    truth = torch.full((32, 32, 3), 0.5)
    assert psnr(truth + 0.1, truth, torch.ones(32, 32, 1)) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth - 0.01, truth, torch.ones(32, 32, 1)) == pytest.approx(40.0, abs=1e-3)


def test_psnr_sees_only_what_the_mask_covers() -> None:
    truth, mask = torch.full((32, 32, 3), 0.5), square(8, 8, 10)
    wrong_outside = torch.where(mask > 0, truth + 0.1, torch.ones(()))
    assert psnr(wrong_outside, truth, mask) == pytest.approx(20.0, abs=1e-4)


def test_psnr_averages_errors_before_the_logarithm() -> None:
    truth = torch.zeros(2, 2, 3)
    picture = torch.tensor([0.1, 0.3]).repeat(2)[:, None].expand(4, 3).reshape(2, 2, 3)
    expected = -10 * math.log10((0.01 + 0.09) / 2)
    assert psnr(picture, truth, torch.ones(2, 2, 1)) == pytest.approx(expected, abs=1e-4)


def test_equal_pictures_have_100_db() -> None:
    picture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    assert psnr(picture, picture, torch.ones(8, 8, 1)) == pytest.approx(100.0)


def test_squares_that_share_half_of_each_overlap_by_a_third() -> None:
    assert mask_iou(square(8, 8, 10), square(8, 13, 10)) == pytest.approx(1 / 3)


def test_the_overlap_of_masks_is_1_0_or_between_as_they_are_the_same_apart_or_nested() -> None:
    assert mask_iou(square(8, 8, 10), square(8, 8, 10) * 0.6) == 1
    assert mask_iou(square(0, 0, 10), square(16, 16, 10)) == 0
    assert mask_iou(square(8, 8, 10), square(8, 8, 5)) == pytest.approx(0.25)
    assert mask_iou(torch.zeros(8, 8, 1), torch.zeros(8, 8, 1)) == 1


def test_the_sharpness_of_a_slope_is_its_steepness() -> None:
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    slope = (0.003 * row + 0.004 * column)[..., None].expand(32, 32, 3)
    assert sharpness(slope, square(4, 4, 24)) == pytest.approx(0.005, abs=1e-6)


def test_the_sharpness_of_an_edge_is_its_height_over_the_width_it_is_seen_in() -> None:
    edge = torch.zeros(32, 32, 3)
    edge[:, 16:] = 0.6
    inner = 24 - 2 * 3
    assert sharpness(edge, square(4, 4, 24)) == pytest.approx(0.6 / inner, abs=1e-6)


def test_an_outline_against_white_is_no_sharpness() -> None:
    mask = square(6, 6, 20)
    plain_on_white = 0.2 * mask + (1 - mask).expand(32, 32, 3)
    assert sharpness(plain_on_white, mask) == 0
    assert sharpness(plain_on_white, torch.ones(32, 32, 1)) > 0.01


def test_an_object_at_the_rim_of_the_picture_is_eroded_there_too() -> None:
    picture = torch.zeros(32, 32, 1)
    picture[:, 1] = 1
    assert sharpness(picture, torch.ones(32, 32, 1), margin=3) == 0


def test_blurring_takes_sharpness_away() -> None:
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = square(8, 8, 48, 64)
    blurred = F.avg_pool2d(F.pad(noise, (2,) * 4, mode="reflect"), 5, stride=1)
    assert sharpness(blurred[0].permute(1, 2, 0), mask) < 0.5 * sharpness(noise[0].permute(1, 2, 0), mask)


def test_nothing_left_inside_has_no_sharpness() -> None:
    assert sharpness(torch.rand(32, 32, 3), square(8, 8, 5)) == 0


def test_views_of_one_colour_disagree_by_the_mean_distance_of_their_colours() -> None:
    plain = torch.stack([torch.full((8, 8, 3), grey) for grey in (0.1, 0.3, 0.6)])
    assert disagreement(plain, torch.ones(3, 8, 8, 1)) == pytest.approx((0.2 + 0.3 + 0.5) / 3, abs=1e-6)
    red, blue = torch.tensor([0.9, 0.2, 0.2]), torch.tensor([0.2, 0.2, 0.9])
    plain = torch.stack([colour.expand(8, 8, 3) for colour in (red, blue)])
    assert disagreement(plain, torch.ones(2, 8, 8, 1)) == pytest.approx(1.4 / 3, abs=1e-6)


def test_views_with_the_same_colours_elsewhere_and_at_any_size_agree() -> None:
    pictures = torch.ones(2, 32, 32, 3)
    halves = [(square(4, 4, 8), square(4, 12, 8)), (square(20, 8, 4), square(8, 8, 4))]
    for picture, (dark, light) in zip(pictures, halves, strict=True):
        picture[dark[..., 0] > 0] = 0.2
        picture[light[..., 0] > 0] = 0.7
    masks = torch.stack([dark + light for dark, light in halves])
    assert disagreement(pictures, masks) == pytest.approx(0, abs=1e-6)
    assert disagreement(pictures, torch.stack([halves[0][0], halves[1][1]])) == pytest.approx(0.5, abs=1e-6)


def test_how_much_of_a_view_has_a_colour_counts() -> None:
    half, quarter = torch.zeros(8, 8, 3), torch.zeros(8, 8, 3)
    half[:4], quarter[:2] = 0.8, 0.8
    assert disagreement(torch.stack([half, quarter]), torch.ones(2, 8, 8, 1)) == pytest.approx(0.2, abs=1e-6)


def test_a_view_of_nothing_has_no_colours_to_compare() -> None:
    masks = torch.stack([torch.ones(8, 8, 1), torch.zeros(8, 8, 1)])
    assert math.isnan(disagreement(torch.rand(2, 8, 8, 3), masks))


def objects_of(parts: list[tuple[str, trimesh.Trimesh, tuple[int, int, int]]]) -> Objects:
    """Objects as the training data holds them: triangle corners with y up and front toward +z."""
    corners = [body.triangles[:, :, [1, 2, 0]].astype(np.float16) for _, body, _ in parts]
    colours = [
        np.tile(np.array(colour, np.uint8), (len(c), 3, 1)) for c, (*_, colour) in zip(corners, parts, strict=True)
    ]
    ids = [name for name, *_ in parts]
    offsets = np.cumsum([0] + [len(c) for c in corners])
    return Objects(ids, ids, ids, np.concatenate(corners), np.concatenate(colours), offsets)


def box(depth: float, width: float, height: float) -> trimesh.Trimesh:
    return trimesh.creation.box((depth, width, height))


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    return Gallery.of(
        objects_of(
            [
                ("red tower", box(0.3, 0.3, 1), RED),
                ("blue tower", box(0.3, 0.3, 1), BLUE),
                ("red wall", box(1, 0.3, 1), RED),
                ("red ball", ball, RED),
                ("blue slab", box(0.8, 1, 0.2), BLUE),
                ("blue cube", box(1, 1, 1), BLUE),
            ]
        )
    )


def known(gallery: Gallery, name: str) -> Mesh:
    return gallery.objects.mesh(gallery.objects.ids.index(name))


@pytest.mark.parametrize("name", ["red tower", "blue tower", "red ball", "blue slab"])
def test_an_object_is_found_by_its_front_at_any_size_and_place(gallery: Gallery, name: str) -> None:
    mesh = known(gallery, name)
    moved = Mesh(mesh.vertices * 0.6 + torch.tensor([0.0, 0.1, -0.15]), mesh.faces, mesh.colours)
    found = gallery.nearest(frame(front_of(moved, 256), SIZE))
    assert gallery.objects.ids[found] == name


def test_outlines_matter_more_than_colours(gallery: Gallery) -> None:
    mesh = known(gallery, "red ball")
    blue = replace(mesh, colours=torch.tensor(BLUE).div(255).expand_as(mesh.vertices))
    assert gallery.objects.ids[gallery.nearest(frame(front_of(blue, 256), SIZE))] == "red ball"


def test_a_twin_is_alike_from_all_sides_and_in_colour(gallery: Gallery) -> None:
    assert gallery.twins(known(gallery, "red tower")) == ["red tower"]
    assert gallery.twins(known(gallery, "red wall")) == ["red wall"]
    taller = known(gallery, "red ball")
    taller = Mesh(taller.vertices * torch.tensor([1.0, 1.0, 1.2]), taller.faces, taller.colours)
    assert gallery.twins(taller) == []


def test_in_the_front_box_a_front_fills_the_picture_as_framing_does() -> None:
    long_car = objects_of([("car", box(1, 0.45, 0.4), RED)]).mesh(0)
    moved = in_front_box(Mesh(long_car.vertices + torch.tensor([0.0, 0.1, 0.2]), long_car.faces, long_car.colours))
    clip = Cameras.at(0.0).clip(moved.vertices)[0]
    picture = clip[:, :2] / clip[:, 3:]
    assert float((picture.amax(dim=0) - picture.amin(dim=0)).max()) == pytest.approx(2 * FRONT_FILL, abs=1e-4)
    assert (picture.amax(dim=0) + picture.amin(dim=0)).tolist() == pytest.approx([0, 0], abs=1e-4)
    drawn = render_views(moved, Cameras.at(0.0), 128, supersample=4)
    framed = frame(front_of(moved, 512), 128)
    assert mask_iou(drawn.mask[0], framed.mask) > 0.97
    assert float(moved.vertices[:, 0].amax() + moved.vertices[:, 0].amin()) == pytest.approx(0, abs=1e-5)


def test_a_picture_cut_from_white_gives_the_same_picture_on_white() -> None:
    drawn = render_views(objects_of([("ball", trimesh.creation.icosphere(), RED)]).mesh(0), Cameras.at(0.0), 64)
    rgba = cut_from_white(drawn.rgb[0], drawn.mask[0])
    back = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    assert torch.allclose(back, drawn.rgb[0], atol=1e-5)


def test_fronts_that_training_has_rendered_are_taken_from_there(gallery: Gallery, tmp_path: Path) -> None:
    objects = gallery.objects
    rgb = np.zeros((len(objects), 1, 128, 128, 3), np.uint8)
    geometry = np.zeros((len(objects), 1, 128, 128, 5), np.uint8)
    for index in range(len(objects) - 1):  # the last is not finished
        views = render_views(objects.mesh(index, jitter=0.95), Cameras.at(0.0), 128)
        rgb[index, 0] = (views.rgb[0] * 255).round().byte().numpy()
        geometry[index, 0, ..., :1] = (views.mask[0] * 255).round().byte().numpy()
    rgb[0] = 255 - rgb[0]  # to tell that they are read
    np.save(tmp_path / "rgb.npy", rgb)
    np.save(tmp_path / "geometry.npy", geometry)
    cached = Gallery.of(objects, tmp_path)
    assert not torch.allclose(cached.rgb[0], gallery.rgb[0], atol=0.2)
    for index in range(1, len(objects)):
        assert mask_iou(cached.mask[index], gallery.mask[index]) > 0.93
        assert cached.nearest(frame(front_of(objects.mesh(index), 256), SIZE)) == index
