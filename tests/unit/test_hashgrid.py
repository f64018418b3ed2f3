"""The hash-grid encoding: kernel against plain torch, and what any interpolating encoding must do."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from dreamcraft3d.kernels import twins_field
from dreamcraft3d.kernels.hashgrid import HashGridSpec, hash_encode
from dreamcraft3d.shape.encoding import DenseGrid, HashEncoding, ProgressiveBand, tiny_cuda_nn_encoding

# two dense levels (16, 24) and four hashed ones (34 to 102)
SPEC = HashGridSpec(levels=6, log2_size=14)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def points_and_table(spec: HashGridSpec, count: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=generator)
    table = torch.randn(spec.rows, spec.features, generator=generator)
    return points.to(device).requires_grad_(), table.to(device).requires_grad_()


def cotangent(encoded: Tensor) -> Tensor:
    return torch.randn(encoded.shape, generator=torch.Generator().manual_seed(1)).to(encoded)


def test_resolutions_follow_tiny_cuda_nn() -> None:
    assert HashGridSpec().resolutions[:5] == (16, 24, 34, 49, 71)
    # where a scale is a whole number, rounding must not add a vertex
    assert HashGridSpec(levels=4, per_level_scale=2.0).resolutions == (16, 32, 64, 128)


def test_a_level_is_dense_until_the_table_is_full() -> None:
    spec = HashGridSpec()
    assert spec.dense == (True,) * 5 + (False,) * 11
    assert spec.offsets[:4] == (0, 16**3, 16**3 + 24**3, 16**3 + 24**3 + 34**3)
    assert spec.offsets[4] - spec.offsets[3] == 49**3 + 7  # a multiple of 8
    assert spec.offsets[-1] - spec.offsets[-2] == 2**19


def test_hashed_vertex_is_found_in_the_row_the_paper_gives() -> None:
    spec = HashGridSpec(levels=1, features=1, log2_size=10, base=64)
    at_vertex = (torch.tensor([[7.0, 11.0, 13.0]]) - 0.5) / 63
    rows = torch.arange(1024.0)[:, None]
    row = (7 * 1 ^ 11 * 2654435761 ^ 13 * 805459861) % 1024
    assert hash_encode(at_vertex, rows, spec).round().item() == row


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("features", [1, 2, 4])
def test_kernel_and_plain_torch_agree_in_values_and_both_gradients(features: int, device: str) -> None:
    spec = HashGridSpec(levels=6, features=features, log2_size=14)
    assert spec.dense == (True, True, False, False, False, False)
    points, table = points_and_table(spec, 500, device)
    encoded = hash_encode(points, table, spec)
    expected = twins_field.hash_encode(points, table, spec)
    torch.testing.assert_close(encoded, expected, atol=2e-6, rtol=1e-5)
    gradients = torch.autograd.grad(encoded, (points, table), cotangent(encoded))
    expected_gradients = torch.autograd.grad(expected, (points, table), cotangent(encoded))
    torch.testing.assert_close(gradients[0], expected_gradients[0], atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(gradients[1], expected_gradients[1], atol=2e-5, rtol=1e-4)


def test_hashed_levels_with_more_than_2_to_32_vertices_agree_too() -> None:
    spec = HashGridSpec(levels=2, log2_size=12, base=4096)
    points, table = points_and_table(spec, 200)
    encoded = hash_encode(points, table, spec)
    torch.testing.assert_close(encoded, twins_field.hash_encode(points, table, spec), atol=1e-4, rtol=1e-4)


def test_cube_faces_and_corners_agree_too() -> None:
    """At coordinate 1 the upper vertex lies outside a dense level and wraps around, as in tiny-cuda-nn."""
    _, table = points_and_table(SPEC, 0)
    points = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)
    torch.testing.assert_close(hash_encode(points, table, SPEC), twins_field.hash_encode(points, table, SPEC))


def test_point_gradient_is_the_slope_of_the_encoding() -> None:
    points, table = points_and_table(SPEC, 400)
    encoded = hash_encode(points, table, SPEC)
    weights = cotangent(encoded)
    (gradient,) = torch.autograd.grad(encoded, points, weights)
    step = 1e-6
    slopes = []
    for axis in range(3):
        shift = step * torch.eye(3, dtype=torch.float64)[axis]
        ahead, behind = (
            (twins_field.hash_encode(points.double() + way * shift, table.double(), SPEC) * weights).sum(dim=-1)
            for way in (1, -1)
        )
        slopes.append((ahead - behind) / (2 * step))
    # the slope has a jump at the walls between cells
    position = points.detach().double()[:, None] * torch.tensor(SPEC.scales)[None, :, None] + 0.5
    inside = ((position - position.round()).abs() > 1e-3).all(dim=-1).all(dim=-1)
    assert inside.sum() > 300
    slope = torch.stack(slopes, dim=-1)
    torch.testing.assert_close(gradient[inside].double(), slope[inside], atol=5e-3, rtol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_order_of_points_changes_nothing(device: str) -> None:
    """20,000 points, so that levels are shared out over threads and, on CUDA, atomic adds meet."""
    points, table = points_and_table(SPEC, 20_000, device)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(2)).to(device)
    encoded = hash_encode(points, table, SPEC)
    weights = cotangent(encoded)
    gradients = torch.autograd.grad(encoded, (points, table), weights)
    permuted = hash_encode(points[order], table, SPEC)
    assert torch.equal(permuted, encoded[order])
    permuted_gradients = torch.autograd.grad(permuted, (points, table), weights[order])
    torch.testing.assert_close(permuted_gradients[0], gradients[0])
    torch.testing.assert_close(permuted_gradients[1], gradients[1], atol=1e-4, rtol=1e-4)


def test_number_of_threads_changes_no_bit() -> None:
    points, table = points_and_table(SPEC, 20_000)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        encoded = hash_encode(points, table, SPEC)
        results.append((encoded, torch.autograd.grad(encoded, table, cotangent(encoded))[0]))
    torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_constant_table_encodes_to_that_constant() -> None:
    points, _ = points_and_table(SPEC, 1000)
    table = torch.full((SPEC.rows, SPEC.features), 0.7)
    torch.testing.assert_close(hash_encode(points, table, SPEC), torch.full((1000, SPEC.width), 0.7))


def test_dense_levels_reproduce_a_linear_function() -> None:
    spec = HashGridSpec(levels=1)
    vertex = torch.arange(spec.rows)
    coordinates = torch.stack([vertex % 16, vertex // 16 % 16, vertex // 256], dim=-1)
    # away from the far faces, where a cell reaches past the last vertex
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 0.9
    encoded = hash_encode(points, coordinates[:, [0, 1]] + coordinates[:, [2, 2]] * 2.0, spec)
    position = points * 15 + 0.5
    torch.testing.assert_close(encoded, position[:, :2] + 2 * position[:, 2:], atol=1e-4, rtol=1e-5)


def test_inactive_levels_are_zero_and_learn_nothing() -> None:
    points, table = points_and_table(SPEC, 300)
    encoded = hash_encode(points, table, SPEC, active_levels=3)
    assert torch.equal(encoded[:, :6], hash_encode(points, table, SPEC)[:, :6])
    assert not encoded[:, 6:].any()
    point_gradient, table_gradient = torch.autograd.grad(encoded.sum(), (points, table))
    assert not table_gradient[SPEC.offsets[3] :].any()
    expected = torch.autograd.grad(twins_field.hash_encode(points, table, SPEC, 3).sum(), points)[0]
    torch.testing.assert_close(point_gradient, expected, atol=2e-3, rtol=1e-4)


def test_second_derivatives_are_refused() -> None:
    points, table = points_and_table(SPEC, 10)
    encoded = hash_encode(points, table, SPEC)
    (slope,) = torch.autograd.grad(encoded.square().sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e30, 7.0])
def test_points_gone_astray_do_not_reach_outside_the_table(bad: float) -> None:
    _, table = points_and_table(SPEC, 0)
    points = torch.full((4, 3), bad, requires_grad=True)
    encoded = hash_encode(points, table, SPEC)
    assert encoded.shape == (4, SPEC.width)
    torch.autograd.grad(encoded.sum(), (points, table))


def test_no_points_encode_to_nothing() -> None:
    points, table = points_and_table(SPEC, 0)
    encoded = hash_encode(points, table, SPEC)
    assert encoded.shape == (0, SPEC.width)
    assert not torch.autograd.grad(encoded.sum(), table)[0].any()


def test_wrong_shapes_are_refused() -> None:
    points, table = points_and_table(SPEC, 5)
    with pytest.raises(ValueError, match="table"):
        hash_encode(points, table[1:], SPEC)
    with pytest.raises(ValueError, match="points"):
        hash_encode(points[:, :2], table, SPEC)


def test_encoding_maps_its_box_to_the_unit_cube_and_clamps_outside() -> None:
    encoding = HashEncoding(2.0, SPEC, torch.Generator().manual_seed(0))
    inside = torch.tensor([[-2.0, 0.0, 2.0], [1.0, -1.0, 0.5]])
    unit = torch.tensor([[0.0, 0.5, 1.0], [0.75, 0.25, 0.625]])
    assert torch.equal(encoding(inside), hash_encode(unit, encoding.table, SPEC))
    assert torch.equal(encoding(torch.tensor([[-5.0, 0.0, 9.0]])), encoding(inside[:1]))


def test_progressive_band_opens_as_in_the_nerf_stage() -> None:
    encoding = HashEncoding(1.0, HashGridSpec(log2_size=8))
    active = []
    for step in (0, 2000, 2499, 2500, 5000, 6000, 10_000):
        encoding.mask_levels(step, ProgressiveBand())
        active.append(encoding.active_levels)
    assert active == [8, 8, 8, 9, 14, 16, 16]
    encoding.mask_levels(2500, ProgressiveBand())
    encoded = encoding(torch.zeros(1, 3))
    assert encoded[:, : 9 * 2].all()
    assert not encoded[:, 9 * 2 :].any()


def test_dense_grid_reproduces_a_linear_function_of_each_axis() -> None:
    grid = DenseGrid(channels=3, resolution=5, half_extent=2.0)
    axis = torch.linspace(-2, 2, 5)
    with torch.no_grad():
        grid.values.copy_(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")))
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) * 4 - 2
    torch.testing.assert_close(grid(points), points)
    outside = torch.tensor([[3.0, 0.5, -9.0]])
    torch.testing.assert_close(grid(outside), torch.tensor([[2.0, 0.5, -2.0]]))


def test_total_variation_of_a_slope_is_its_square() -> None:
    grid = DenseGrid(channels=2, resolution=4, half_extent=1.0, initial=0.3)
    assert grid.total_variation() == 0
    with torch.no_grad():
        grid.values.add_(3.0 * torch.arange(4)[:, None])
    torch.testing.assert_close(grid.total_variation(), torch.tensor(9.0))


@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("tinycudann") is None,
    reason="no tiny-cuda-nn, or no CUDA device",
)
def test_tiny_cuda_nn_agrees_on_the_same_table() -> None:
    points, table = points_and_table(SPEC, 500, "cuda")
    expected = hash_encode(points, table, SPEC)
    theirs = tiny_cuda_nn_encoding(SPEC)
    encoded = torch.func.functional_call(theirs, {"params": table.reshape(-1)}, (points,))
    torch.testing.assert_close(encoded, expected, atol=1e-4, rtol=1e-4)
    weights = cotangent(expected)
    gradients = torch.autograd.grad(encoded, (points, table), weights)
    expected_gradients = torch.autograd.grad(expected, (points, table), weights)
    torch.testing.assert_close(gradients[0], expected_gradients[0], atol=2e-2, rtol=1e-3)
    torch.testing.assert_close(gradients[1], expected_gradients[1], atol=1e-3, rtol=1e-3)
