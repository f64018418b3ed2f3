"""Ray marching: kernel against plain torch, and the geometry it must get right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dreamcraft3d.kernels import twins_field
from dreamcraft3d.kernels.march import PackedSamples, march_rays

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
STEP = 0.01
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rays_at_the_box(count: int) -> tuple[Tensor, Tensor]:
    """Rays from a sphere of radius 3 towards points in the box."""
    generator = seeded()
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 3
    targets = torch.rand(count, 3, generator=generator) * 1.6 - 0.8
    return origins, torch.nn.functional.normalize(targets - origins, dim=-1)


def ball(resolution: int, radius: float = 0.7) -> Tensor:
    """Occupancy of the cells whose centre lies in a ball."""
    centre = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
    return torch.stack(torch.meshgrid(centre, centre, centre, indexing="ij"), dim=-1).norm(dim=-1) < radius


def lengths(samples: PackedSamples) -> Tensor:
    """Distance travelled through occupied cells, (R,)."""
    rays = len(samples.ray_offsets) - 1
    return torch.zeros(rays).index_add(0, samples.ray_indices, samples.dt)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("max_samples", [1000, 20])
def test_kernel_and_plain_torch_agree(max_samples: int, device: str) -> None:
    origins, directions = rays_at_the_box(500)
    jitter = torch.rand(500, generator=seeded(1))
    occupancy = torch.rand(32, 32, 32, generator=seeded(2)) < 0.3
    origins_there, directions_there, occupancy_there, box, jitter_there = (
        x.to(device) for x in (origins, directions, occupancy, BOX, jitter)
    )
    samples = march_rays(origins_there, directions_there, occupancy_there, box, STEP, jitter_there, max_samples)
    expected = twins_field.march_rays(origins, directions, occupancy, BOX, STEP, jitter, max_samples)
    if device == "cpu":
        assert torch.equal(samples.ray_offsets, expected.ray_offsets)
        assert torch.equal(samples.ray_indices, expected.ray_indices)
        torch.testing.assert_close(samples.t, expected.t)
    else:  # a fused multiply-add moves a sample across a cell's wall now and then
        counts, expected_counts = samples.ray_offsets.diff().cpu(), expected.ray_offsets.diff()
        assert (counts - expected_counts).abs().max() <= 2
        assert (counts != expected_counts).float().mean() < 0.01
    assert samples.ray_offsets.diff().max() <= max_samples


def test_samples_lie_in_occupied_cells_of_the_box() -> None:
    origins, directions = rays_at_the_box(500)
    occupancy = torch.rand(16, 24, 32, generator=seeded(2)) < 0.2
    samples = march_rays(origins, directions, occupancy, BOX, STEP, None, 1000)
    points = origins[samples.ray_indices] + directions[samples.ray_indices] * samples.t[:, None]
    # a sample on a wall may be either cell's: move it back and forth by a rounding error
    cell = (points[:, None] + torch.tensor([-1e-5, 0, 1e-5])[:, None] + 1) / 2 * torch.tensor([16, 24, 32])
    x, y, z = cell.long().clamp(min=torch.zeros(3).long(), max=torch.tensor([15, 23, 31])).unbind(dim=-1)
    assert len(samples.t) > 1000
    assert occupancy[x, y, z].any(dim=1).all()
    assert points.abs().max() < 1 + 1e-5


def test_no_sample_in_an_occupied_cell_is_missed() -> None:
    """Leaping over empty cells must find what marching through a full grid, and looking, finds."""
    origins, directions = rays_at_the_box(500)
    occupancy = torch.rand(32, 32, 32, generator=seeded(2)) < 0.05
    everywhere = march_rays(origins, directions, torch.ones_like(occupancy), BOX, STEP, None, 1000)
    points = origins[everywhere.ray_indices] + directions[everywhere.ray_indices] * everywhere.t[:, None]
    position = (points + 1) * 16
    x, y, z = position.long().clamp(0, 31).unbind(dim=-1)
    off_the_walls = (position - position.round()).abs().amin(dim=-1) > 1e-3
    surely_occupied = everywhere.t[occupancy[x, y, z] & off_the_walls]
    found = march_rays(origins, directions, occupancy, BOX, STEP, None, 1000)
    assert len(surely_occupied) > 500
    assert torch.isin(surely_occupied, found.t).all()


def test_path_through_a_ball_is_its_chord() -> None:
    origins, directions = rays_at_the_box(2000)
    samples = march_rays(origins, directions, ball(128), BOX, STEP, torch.rand(2000, generator=seeded(3)), 1000)
    closest = (origins - (origins * directions).sum(dim=-1, keepdim=True) * directions).norm(dim=-1)
    chord = 2 * (0.7**2 - closest**2).clamp(min=0).sqrt()
    error = lengths(samples) - chord
    cell = 2 / 128
    deep = closest < 0.6
    assert error[deep].abs().max() < 4 * cell + STEP
    assert not lengths(samples)[closest > 0.7 + cell].any()
    assert error.mean().abs() < 0.003


def test_jittered_path_through_the_box_is_right_on_average() -> None:
    """Steps as long as half the box: only an unbiased rule gets the mean length right."""
    rays = 20_000
    origins, directions = torch.tensor([[-3.0, 0.1, 0.2]]).expand(rays, 3), torch.tensor([[1.0, 0, 0]]).expand(rays, 3)
    jitter = torch.rand(rays, generator=seeded(4))
    full = torch.ones(4, 4, 4, dtype=torch.bool)
    samples = march_rays(origins, directions, full, BOX, 0.83, jitter, 100)
    assert abs(lengths(samples).mean() - 2) < 0.01


def test_first_sample_is_half_a_step_after_entry_and_the_next_a_step_later() -> None:
    origins = torch.tensor([[-3.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    samples = march_rays(origins, directions, torch.ones(4, 4, 4, dtype=torch.bool), BOX, 0.25, None, 100)
    assert samples.ray_offsets.tolist() == [0, 8, 12]
    assert samples.ray_indices.tolist() == [0] * 8 + [1] * 4
    outside_in = [2.125 + 0.25 * i for i in range(8)]
    from_within = [0.125 + 0.25 * i for i in range(4)]
    torch.testing.assert_close(samples.t, torch.tensor(outside_in + from_within))
    assert samples.dt.tolist() == [0.25] * 12


def test_a_ray_within_the_walls_of_cells_is_no_trouble() -> None:
    """It belongs to the cells on the upper side."""
    occupancy = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupancy[3, 0, 2] = True
    origins = torch.tensor([[-3.0, -1.0, 0.0], [-3.0, 1.0, 0.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    samples = march_rays(origins, directions, occupancy, BOX, 0.25, None, 100)
    assert samples.ray_offsets.tolist() == [0, 2, 2]
    torch.testing.assert_close(samples.t, torch.tensor([3.625, 3.875]))


def test_rays_past_or_away_from_the_box_have_no_samples() -> None:
    origins = torch.tensor([[-3.0, 0.0, 0.0], [-3.0, 1.5, 0.0], [-3.0, 0.0, 0.0]])
    directions = torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    samples = march_rays(origins, directions, torch.ones(4, 4, 4, dtype=torch.bool), BOX, 0.1, None, 100)
    assert samples.ray_offsets.tolist() == [0, 0, 0, 0]
    assert len(samples.t) == len(samples.ray_indices) == len(samples.dt) == 0


@pytest.mark.parametrize("device", DEVICES)
def test_permuting_the_rays_permutes_the_samples(device: str) -> None:
    origins, directions = (x.to(device) for x in rays_at_the_box(300))
    occupancy, box = ball(32).to(device), BOX.to(device)
    order = torch.randperm(300, generator=seeded(5)).to(device)
    samples = march_rays(origins, directions, occupancy, box, STEP, None, 1000)
    permuted = march_rays(origins[order], directions[order], occupancy, box, STEP, None, 1000)
    bounds = samples.ray_offsets.tolist()
    expected = torch.cat([samples.t[bounds[ray] : bounds[ray + 1]] for ray in order.tolist()])
    assert torch.equal(permuted.t, expected)
    assert torch.equal(permuted.ray_offsets.diff(), samples.ray_offsets.diff()[order])


def test_no_rays_give_no_samples() -> None:
    samples = march_rays(torch.zeros(0, 3), torch.zeros(0, 3), ball(8), BOX, STEP, None, 10)
    assert len(samples.t) == 0
    assert samples.ray_offsets.tolist() == [0]


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        march_rays(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]]), ball(8), BOX, 0.0, None, 10)
