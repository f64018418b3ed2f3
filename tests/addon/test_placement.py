"""Axes, size and names of what comes into the scene."""

from __future__ import annotations

import numpy as np
import pytest
from blender_addon.core.placement import linear, standing, title, turned


def test_the_front_turns_from_plus_x_to_minus_y_and_up_stays_up() -> None:
    axes = np.eye(3, dtype=np.float32)
    assert turned(axes).tolist() == [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    assert np.linalg.det(turned(axes)) == pytest.approx(1)  # faces keep their outside


def test_an_object_stands_on_the_origin_with_its_larger_side_one_long() -> None:
    points = np.random.default_rng(0).uniform(-3, 5, (50, 3)).astype(np.float32) * [1, 2, 0.5]
    placed = standing(points.astype(np.float32))
    low, high = placed.min(axis=0), placed.max(axis=0)
    assert low[2] == pytest.approx(0, abs=1e-6)
    assert (low + high)[:2] == pytest.approx([0, 0], abs=1e-6)
    assert (high - low).max() == pytest.approx(1)
    assert placed.dtype == np.float32
    assert placed.flags.c_contiguous


def test_a_single_point_is_no_division_by_zero() -> None:
    assert standing(np.ones((1, 3), np.float32)).tolist() == [[0, 0, 0]]


def test_colours_become_linear_and_opaque() -> None:
    values = linear(np.array([[0, 0.5, 1.0]], np.float32))
    assert values[0] == pytest.approx([0, 0.21404, 1, 1], abs=1e-4)
    assert values.dtype == np.float32


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mushroom", "Red Mushroom"),
        ("  an  owl ", "Owl"),
        ("the", "The"),
        ("", "Object"),
        ("x" * 90, "X" + "x" * 47),
    ],
)
def test_an_object_is_called_after_its_prompt(prompt: str, name: str) -> None:
    assert title(prompt) == name
