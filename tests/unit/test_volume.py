"""The volume renderer against closed forms: discs, depths, slabs, and what leaving samples out may change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dreamcraft3d.kernels.hashgrid import HashGridSpec
from dreamcraft3d.kernels.march import PackedSamples
from dreamcraft3d.render import volume
from dreamcraft3d.render.camera import DISTANCE, FOVY, Cameras
from dreamcraft3d.render.volume import VolumeViews, composite, render_volume
from dreamcraft3d.shape.encoding import HashEncoding
from dreamcraft3d.shape.field import DenseField, Field, HashField, Surface

EXTENT = 0.8
RADIUS = 0.45
STEP = 0.025
SIZE = 48
SMALL = HashGridSpec(levels=4, log2_size=12)
EVERYWHERE = torch.ones(8, 8, 8, dtype=torch.bool)
ALL_ROUND = Cameras.at([0.0, 130.0], [0.0, 40.0])


def ball(surface: Surface, resolution: int = 49, radius: float = RADIUS) -> DenseField:
    """A hard ball, red toward +x, set on a lattice."""
    field = DenseField(surface, EXTENT, resolution)
    line = torch.linspace(-EXTENT, EXTENT, resolution)
    x, y, z = torch.meshgrid(line, line, line, indexing="ij")
    distance = torch.stack([x, y, z]).norm(dim=0) - radius
    with torch.no_grad():
        field.shape.copy_((-300 * distance if surface == "density" else distance)[None])
        field.colour[0] = 4 * x
        field.sharpness.fill_(0.55)
    return field


def hash_ball() -> HashField:
    """The paper's field as its NeuS stage begins: a sphere of radius 0.5."""
    field = HashField("sdf", EXTENT, HashEncoding(EXTENT, SMALL, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        field.sharpness.fill_(0.55)
    return field


BALLS = [
    pytest.param(ball("density"), RADIUS, id="density"),
    pytest.param(ball("sdf"), RADIUS, id="sdf"),
    pytest.param(hash_ball(), 0.5, id="hash"),
]


def render(
    field: Field, cameras: Cameras = ALL_ROUND, size: int = SIZE, occupancy: Tensor = EVERYWHERE, step: float = STEP
) -> VolumeViews:
    with torch.no_grad():
        return render_volume(field, cameras, size, occupancy, step)


def packed_rays(counts: list[int], dt: float = 0.1) -> PackedSamples:
    """Rays with the given numbers of samples."""
    rays = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    t = torch.cat([torch.arange(n) * dt for n in counts])
    offsets = torch.tensor([0, *counts]).cumsum(0)
    return PackedSamples(rays, t, torch.full_like(t, dt), offsets)


def composite_one_by_one(alpha: Tensor, packed: PackedSamples) -> Tensor:
    weights = []
    for start, end in zip(packed.ray_offsets[:-1].tolist(), packed.ray_offsets[1:].tolist(), strict=True):
        through = torch.ones((), dtype=alpha.dtype)
        for i in range(start, end):
            weights.append(alpha[i] * through)
            through = through * (1 - alpha[i])
    return torch.stack(weights)


def test_weights_and_their_gradients_are_those_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    packed = packed_rays([0, 5, 1, 0, 0, 7, 0])
    alpha = torch.rand(13, generator=generator).requires_grad_()
    upstream = torch.rand(13, generator=generator)
    weights, expected = composite(alpha, packed), composite_one_by_one(alpha, packed)
    torch.testing.assert_close(weights, expected)
    slopes = [torch.autograd.grad(w @ upstream, alpha)[0] for w in (weights, expected)]
    torch.testing.assert_close(*slopes)


def test_a_rays_weights_sum_to_its_opacity() -> None:
    packed = packed_rays([40] * 500)
    alpha = torch.rand(len(packed.t), generator=torch.Generator().manual_seed(0)) ** 3
    total = torch.zeros(500).index_add(0, packed.ray_indices, composite(alpha, packed))
    torch.testing.assert_close(total, 1 - (1 - alpha.reshape(500, 40)).prod(dim=1))


def test_many_rays_do_not_blur_each_other() -> None:
    """The running sum over the list must not eat the last ray's digits."""
    packed = packed_rays([20] * 20_000)
    alpha = torch.full_like(packed.t, 0.6)
    weights = composite(alpha, packed).reshape(-1, 20)
    torch.testing.assert_close(weights[-1], weights[0])


def test_a_wholly_opaque_sample_hides_all_behind_it_and_has_a_gradient() -> None:
    alpha = torch.tensor([0.2, 1.0, 0.5, 0.5], requires_grad=True)
    weights = composite(alpha, packed_rays([4]))
    torch.testing.assert_close(weights, torch.tensor([0.2, 0.8, 0.0, 0.0]), atol=2e-6, rtol=0)
    weights[:2].sum().backward()
    assert alpha.grad is not None
    assert alpha.grad.isfinite().all()


def test_opacity_of_a_homogeneous_slab_is_beer_and_lambert() -> None:
    sigma, depth, count = 1.7, 0.9, 30
    packed = packed_rays([count], depth / count)
    field = DenseField("density", EXTENT, 4)
    logit = math.log(math.expm1(sigma / field.DENSITY_SCALE))
    alpha = field.opacity(torch.full((count,), logit), packed.dt)
    assert composite(alpha, packed).sum().item() == pytest.approx(1 - math.exp(-sigma * depth), rel=1e-5)


def test_a_box_of_mist_is_as_opaque_as_the_rays_are_long_in_it() -> None:
    sigma = 0.8
    field = DenseField("density", EXTENT, 4)
    with torch.no_grad():
        field.shape.fill_(math.log(math.expm1(sigma / field.DENSITY_SCALE)))
    cameras = Cameras.at(20.0, 30.0)
    origins, directions = (x[0] for x in cameras.rays(32))
    walls = torch.stack([(-EXTENT - origins) / directions, (EXTENT - origins) / directions])
    length = (walls.amax(0).amin(-1) - walls.amin(0).amax(-1)).clamp(min=0)
    mask = render(field, cameras, 32, step=0.005).mask[0, ..., 0]
    assert (mask - (1 - torch.exp(-sigma * length))).abs().max() < sigma * 0.005


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_a_ball_is_a_disc_of_the_right_area(field: Field, radius: float) -> None:
    mask = render(field, occupancy=field.occupancy(32, STEP)).mask
    outline = radius / math.sqrt(DISTANCE**2 - radius**2) / math.tan(math.radians(FOVY / 2))
    assert mask.mean(dim=(1, 2, 3)).tolist() == pytest.approx([math.pi * outline**2 / 4] * 2, rel=0.03)


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_depth_at_the_centre_is_the_near_pole(field: Field, radius: float) -> None:
    depth = render(field, size=9, step=0.01).depth[:, 4, 4, 0]
    assert depth.tolist() == pytest.approx([-radius] * 2, abs=0.015)


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_depth_is_that_of_the_balls_surface_everywhere(field: Field, radius: float) -> None:
    views = render(field, occupancy=field.occupancy(32, 0.01), step=0.01)
    origins, directions = ALL_ROUND.rays(SIZE)
    along = -(origins * directions).sum(-1)
    apart = radius**2 - (DISTANCE**2 - along**2)
    hit = origins + directions * (along - apart.clamp(min=0).sqrt())[..., None]
    axis = torch.nn.functional.normalize(ALL_ROUND.position, dim=-1)[:, None, None]
    inner = apart > 0.3 * radius**2
    assert (views.depth[..., 0] + (hit * axis).sum(-1))[inner].abs().max() < 0.03
    assert ((views.normal * hit).sum(-1) / radius)[inner].min() > 0.99


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_outside_the_ball_the_picture_is_background(field: Field, radius: float) -> None:
    background = torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        white = render_volume(field, ALL_ROUND, 32, EVERYWHERE, STEP)
        colour = render_volume(field, ALL_ROUND, 32, EVERYWHERE, STEP, background)
    empty = white.mask[..., 0] < 1e-3  # every sample of a signed distance is at least 1e-5 opaque
    assert empty[:, 0].all()
    assert (white.rgb[empty] - 1).abs().max() < 1e-3
    assert (colour.rgb[empty] - background).abs().max() < 1e-3
    assert white.rgb.max() <= 1 + 1e-5


def test_the_front_is_seen_from_the_front_and_the_picture_stands_upright() -> None:
    field = ball("density")
    with torch.no_grad():  # green above, red in front
        field.colour.zero_()
        field.colour[0, 25:] = 5.0
        field.colour[1, :, :, 25:] = 5.0
    front, back = render(field, Cameras.at([0.0, 180.0]), 32).rgb
    assert front[16, 16, 0] > back[16, 16, 0] + 0.2
    assert front[12, 16, 1] > front[20, 16, 1] + 0.2


def test_unshaded_pictures_show_albedo() -> None:
    field = ball("density")
    with torch.no_grad():
        field.colour.copy_(torch.logit(torch.tensor([0.2, 0.5, 0.7]))[:, None, None, None].expand_as(field.colour))
        views = render_volume(field, Cameras.at(0.0), 32, EVERYWHERE, STEP, shaded=0.0)
    torch.testing.assert_close(views.rgb[0, 16, 16], torch.tensor([0.2, 0.5, 0.7]), atol=1e-3, rtol=0)


def test_a_surface_that_faces_the_camera_is_lit_as_shading_says() -> None:
    views = render(ball("density"), Cameras.at(0.0), 9)
    assert (views.rgb[0, 4, 4] / 0.5)[1:].tolist() == pytest.approx([0.5 + 0.32 + 0.09] * 2, rel=0.01)


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_leaving_hidden_samples_out_does_not_change_the_picture(
    field: Field, radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned = render(field)
    monkeypatch.setattr(volume, "HIDDEN", -1.0)
    brute = render(field)
    assert len(pruned.weights) < 0.85 * len(brute.weights)
    for a, b in ((pruned.rgb, brute.rgb), (pruned.mask, brute.mask)):
        assert (a - b).abs().max() < 3e-3
    opaque = brute.mask[..., 0] > 0.5
    assert (pruned.depth - brute.depth)[opaque].abs().max() < 3e-3


@pytest.mark.parametrize(("field", "radius"), BALLS)
def test_skipping_empty_cells_does_not_change_the_picture(field: Field, radius: float) -> None:
    skipped, brute = render(field, occupancy=field.occupancy(32, STEP)), render(field)
    assert len(skipped.weights) < 0.5 * len(brute.weights)
    assert (skipped.rgb - brute.rgb).abs().max() < 2e-3
    assert (skipped.mask - brute.mask).abs().max() < 2e-3


def test_a_batch_is_its_pictures_one_by_one() -> None:
    field = ball("sdf")
    both = render(field, size=24)
    for i in range(2):
        torch.testing.assert_close(both.rgb[[i]], render(field, ALL_ROUND[[i]], 24).rgb)


def test_jitter_moves_the_samples_and_stays_near_the_unjittered_picture() -> None:
    field = ball("density")
    jitter = torch.rand(len(ALL_ROUND), 32 * 32, generator=torch.Generator().manual_seed(0))
    first = render_volume(field, ALL_ROUND, 32, EVERYWHERE, STEP, jitter=jitter).rgb
    assert not torch.equal(first, render(field, size=32).rgb)
    assert (first - render(field, size=32).rgb).abs().mean() < 0.01


def test_an_empty_field_is_a_white_picture_that_can_be_descended_on() -> None:
    field = DenseField("density", EXTENT, 8)
    with torch.no_grad():
        field.shape.fill_(-40.0)
    views = render_volume(field, ALL_ROUND, 16, field.occupancy(8, STEP), STEP)
    assert torch.equal(views.rgb, torch.ones_like(views.rgb))
    assert torch.equal(views.mask, torch.zeros_like(views.mask))
    (views.rgb.sum() + field.roughness()[0]).backward()


def derivative_along(field: DenseField, parameter: Tensor, direction: Tensor, what: str) -> tuple[float, float]:
    """By autograd and by central difference, of a weighted sum of one picture."""
    weights = torch.rand(1, 24, 24, 1, generator=torch.Generator().manual_seed(3))
    start = parameter.detach().clone()

    def value() -> Tensor:
        views = render_volume(field, Cameras.at(30.0, 20.0), 24, EVERYWHERE, 0.03)
        return (getattr(views, what).double() * weights).sum()

    (slope,) = torch.autograd.grad(value(), parameter)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.copy_(start + sign * 0.01 * direction)
            ends.append(value().item())
    with torch.no_grad():
        parameter.copy_(start)
    return (slope * direction).sum().item(), (ends[0] - ends[1]) / 0.02


def smooth_direction(channels: int, resolution: int) -> Tensor:
    """A lattice of smooth random values, so that a small step along it moves the surface evenly."""
    coarse = torch.randn(1, channels, 4, 4, 4, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, (resolution,) * 3, mode="trilinear", align_corners=True)[0]


@pytest.mark.parametrize("what", ["mask", "depth", "rgb"])
@pytest.mark.parametrize("surface", ["density", "sdf"])
def test_gradients_on_the_lattice_are_finite_differences(
    surface: Surface, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "HIDDEN", -1.0)  # leaving samples out makes steps, if tiny ones
    field = DenseField(surface, EXTENT, 12)
    scale = 1.0 if surface == "density" else 0.1
    analytic, numeric = derivative_along(field, field.shape, scale * smooth_direction(1, 12), what)
    assert analytic == pytest.approx(numeric, rel=0.02)
    analytic, numeric = derivative_along(field, field.colour, smooth_direction(3, 12), what)
    assert analytic == pytest.approx(numeric, rel=0.02, abs=1e-4)


@pytest.mark.parametrize("surface", ["density", "sdf"])
def test_hidden_samples_carry_next_to_no_gradient(surface: Surface, monkeypatch: pytest.MonkeyPatch) -> None:
    field = DenseField(surface, EXTENT, 12)
    slopes = []
    for hidden in (volume.HIDDEN, -1.0):
        monkeypatch.setattr(volume, "HIDDEN", hidden)
        views = render_volume(field, Cameras.at(30.0, 20.0), 24, EVERYWHERE, 0.03)
        slopes.append(torch.autograd.grad((views.rgb - 0.5).square().sum(), field.shape)[0])
    assert (slopes[0] - slopes[1]).norm() < 0.01 * slopes[1].norm()


def test_a_signed_distance_learns_its_sharpness_from_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "HIDDEN", -1.0)
    field = DenseField("sdf", EXTENT, 12)
    analytic, numeric = derivative_along(field, field.sharpness, torch.tensor(1.0), "mask")
    assert analytic == pytest.approx(numeric, rel=0.02)
