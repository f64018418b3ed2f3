"""Golden numbers: what the method's formulas give, worked out apart from the code, with their origin.

Held by other tests, and not repeated here: where cameras stand and the front's c2w, and that rays and projection are one
camera (``test_camera.py``); NeuS' opacity of single intervals and the start's sharpness (``test_field.py``); dense and
hashed levels and the order in which levels open (``test_hashgrid.py``); the cases of marching tetrahedra
(``test_tetrahedra.py``).
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dreamcraft3d.kernels.hashgrid import HashGridSpec
from dreamcraft3d.kernels.march import PackedSamples
from dreamcraft3d.priors.guided import (
    classifier_free,
    perp_neg,
    perp_neg_weights,
    view_shares,
)
from dreamcraft3d.priors.words import view_words
from dreamcraft3d.render.camera import DISTANCE, FOVY, Cameras, half_height
from dreamcraft3d.render.volume import composite
from dreamcraft3d.shape.field import DenseField, FieldSamples


def as_prediction(*values: float) -> Tensor:
    """(1, C, 1, 1) a noise prediction of one pixel."""
    return torch.tensor(values)[None, :, None, None]


# Guidance


def test_classifier_free_guidance_is_u_plus_s_times_the_difference() -> None:
    """Imagen's convention, and diffusers': 1 + 7.5 (3 - 1)."""
    assert classifier_free(as_prediction(1.0), as_prediction(3.0), 7.5).item() == 16.0


@pytest.mark.parametrize(
    ("azimuth", "front", "side"),
    [  # released code, Perp-Neg table: -(4 e^(-r/2) - 2.426) before the side; -(e^(-r/2) + 0.967), -(e^(-r/2) - 0.606) after
        (0, -0.000123, -1.574),
        (30, -0.440125, -0.959927),
        (45, -0.689203, -0.689203),
        (-60, -0.959927, -0.440125),
        (90, -1.573531, -0.000531),
        (120, -1.683531, -0.110531),
        (-135, -1.745801, -0.172801),
        (180, -1.967, -0.394),
        (225, -1.745801, -0.172801),
        (330, -0.440125, -0.959927),
    ],
)
def test_negative_prompts_weigh_what_the_released_code_gives_them(azimuth: float, front: float, side: float) -> None:
    found = perp_neg_weights(torch.tensor([float(azimuth)]))
    torch.testing.assert_close(found, torch.tensor([[front, side]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("azimuth", "shares"),
    [  # released code: r front + (1 - r) side before the side, r side + (1 - r) back after
        (0, (1, 0, 0)),
        (30, (2 / 3, 1 / 3, 0)),
        (-90, (0, 1, 0)),
        (135, (0, 0.5, 0.5)),
        (180, (0, 0, 1)),
        (240, (0, 2 / 3, 1 / 3)),
    ],
)
def test_prompts_are_mixed_between_the_views_beside_a_camera(azimuth: float, shares: tuple[float, ...]) -> None:
    at = torch.tensor([float(azimuth)])
    torch.testing.assert_close(view_shares(at), torch.tensor([shares], dtype=torch.float32))


def test_perp_neg_takes_off_what_is_unwanted_across_the_prompt_before_it_scales() -> None:
    """u + 20 (e + w1 perp(e1, e) + w2 perp(e2, e)), worked by hand.

    u = (1, 0, 0) and c = (1, 2, 0) give e = (0, 2, 0). e1 = (3, 4, 0) across e is (3, 0, 0), e2 = (0, -6, 5) is (0, 0, 5).
    With w = (-0.5, -2): 20 (-1.5, 2, -10) + u.
    """
    u, c = as_prediction(1.0, 0.0, 0.0), as_prediction(1.0, 2.0, 0.0)
    negatives = torch.stack([as_prediction(4.0, 4.0, 0.0), as_prediction(1.0, -6.0, 5.0)], dim=1)
    found = perp_neg(u, c, negatives, torch.tensor([[-0.5, -2.0]]), 20.0)
    torch.testing.assert_close(found, as_prediction(-29.0, 40.0, -200.0))


def test_perp_neg_projects_each_picture_of_a_batch_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    u, c = torch.randn(2, 3, 4, 4, 4, generator=generator)
    negatives, weights = torch.randn(3, 2, 4, 4, 4, generator=generator), -torch.rand(3, 2, generator=generator)
    together = perp_neg(u, c, negatives, weights, 7.5)
    alone = [perp_neg(*(x[i : i + 1] for x in (u, c, negatives, weights)), 7.5) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_perp_neg_without_weight_is_classifier_free_guidance() -> None:
    u, c = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = perp_neg(u, c, torch.randn(1, 2, 3, 4, 4), torch.zeros(1, 2), 20.0)
    torch.testing.assert_close(found, classifier_free(u, c, 20.0))


def test_a_prompt_that_says_nothing_is_not_divided_by() -> None:
    """Released code: the squared length is at least 1e-6."""
    u = torch.zeros(1, 3, 2, 2)
    assert perp_neg(u, u, torch.ones(1, 2, 3, 2, 2), torch.tensor([[-0.5, -0.5]]), 20.0).isfinite().all()


@pytest.mark.parametrize(("threshold", "turns"), [(45.0, (45, 135)), (30.0, (30, 150))], ids=["geometry", "texture"])
def test_view_words_change_at_the_released_thresholds(threshold: float, turns: tuple[int, int]) -> None:
    """Released code: side by default; front under 45 degrees and back beyond 135, 30 and 150 in the texture stage;
    overhead above 60 degrees of elevation, whatever the azimuth."""
    first, second = turns
    for sign in (1, -1):
        words = [view_words(sign * a, 0.0, threshold) for a in (first - 1, first, second, second + 1)]
        assert words == ["front view", "side view", "side view", "back view"]
    assert [view_words(0.0, e, threshold) for e in (60.0, 61.0)] == ["front view", "overhead view"]


# Cameras


def test_the_reference_camera_frames_two_thirds_of_a_unit() -> None:
    """Released code, all stages: distance 3.8 and a field of view of 20 degrees; 3.8 tan 10 = 0.67."""
    assert (DISTANCE, FOVY) == (3.8, 20.0)
    assert half_height() == pytest.approx(0.670043, abs=1e-6)


def test_c2w_of_a_camera_at_the_side_above() -> None:
    """Azimuth 90, elevation 30: lookat -(0, cos 30, sin 30), right = lookat x up, up = right x lookat."""
    expected = torch.tensor(
        [
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, -0.5, 0.866025, 3.290897],
            [0.0, 0.866025, 0.5, 1.9],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    torch.testing.assert_close(Cameras.at(90.0, 30.0).c2w[0], expected, atol=1e-6, rtol=0)


def test_ray_directions_at_the_corners_of_a_picture() -> None:
    """((i + 0.5 - 32) / f, -(j + 0.5 - 32) / f, -1) with f = 32 / tan 10 = 181.481, normalised; seen from the front,
    right is +y, up is +z and the camera looks along -x."""
    origins, directions = Cameras.at(0.0).rays(64)
    expected = torch.tensor([-0.971169, -0.168568, 0.168568])
    torch.testing.assert_close(directions[0, 0, 0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(directions[0, 63, 63], expected * torch.tensor([1, -1, -1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(origins[0, 0, 0], torch.tensor([3.8, 0.0, 0.0]))


def test_the_projection_is_opengls() -> None:
    """1 / tan 10 = 5.671282, positive in both: y points up in ndc, and ``render/raster.py`` turns the rows. (The released
    code's second element is negative, for a rasterizer whose rows follow ndc.) near 0.1, far 100."""
    expected = torch.tensor(
        [[5.671282, 0, 0, 0], [0, 5.671282, 0, 0], [0, 0, -100.1 / 99.9, -20.0 / 99.9], [0, 0, -1, 0]]
    )
    torch.testing.assert_close(Cameras.at(0.0).projection, expected, atol=1e-6, rtol=0)


# NeuS


def test_a_ray_through_a_plane_is_weighed_as_in_neus() -> None:
    """Four intervals of 0.1 across a plane met head-on, inv_s = exp(10 x 0.3) = 20.0855, Phi(x) = 1 / (1 + exp(-inv_s x)).

    alpha_i = (Phi(prev) - Phi(next) + 1e-5) / (Phi(prev) + 1e-5) from the intervals' ends 0.2, 0.1, 0, -0.1, -0.2, and
    w_i = alpha_i prod_{j<i} (1 - alpha_j). The light that is left is Phi(-0.2) / Phi(0.2) = 0.01800.
    """
    field = DenseField("sdf", 1.0, 4)
    assert field.inverse_deviation.item() == pytest.approx(20.085537, rel=1e-6)
    sdf, normal = torch.tensor([0.15, 0.05, -0.05, -0.15]), torch.tensor([[1.0, 0.0, 0.0]]).expand(4, 3)
    samples = FieldSamples(sdf, torch.zeros(4, 3), normal, normal)
    dt = torch.full((4,), 0.1)
    alpha = field.alpha(samples, -normal, dt)
    torch.testing.assert_close(alpha, torch.tensor([0.102442, 0.432915, 0.763389, 0.850517]), atol=1e-6, rtol=0)
    packed = PackedSamples(torch.zeros(4, dtype=torch.int64), torch.arange(4) * 0.1, dt, torch.tensor([0, 4]))
    weights = composite(alpha, packed)
    torch.testing.assert_close(weights, torch.tensor([0.102442, 0.388566, 0.388559, 0.102430]), atol=1e-6, rtol=0)
    assert 1 - weights.sum().item() == pytest.approx(0.018003, abs=1e-5)


# Hash grid


def test_the_levels_of_the_hash_grid_are_tiny_cuda_nns() -> None:
    """ceil(16 x 1.44727^l - 1) + 1; the last is not 4096, for 16 x 1.44727^15 is a little more."""
    expected = (16, 24, 34, 49, 71, 102, 148, 213, 308, 446, 646, 934, 1352, 1956, 2831, 4097)
    assert HashGridSpec().resolutions == expected
    assert expected == tuple(math.ceil(16 * 1.44727**level - 1) + 1 for level in range(16))
