"""A texture on its way to Blender."""

from __future__ import annotations

import numpy as np
import pytest
from blender_addon.core.pixels import SIDE, Pixels


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 32)])
def test_values_are_opaque_rgba_from_the_last_row_to_the_first(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pixels = Pixels(picture)
    values = pixels.values()
    assert pixels.ready
    assert (pixels.height, pixels.width, values.dtype, values.ndim) == (*shape, np.float32, 1)
    seen = values.reshape(*shape, 4)[::-1]
    assert np.allclose(seen[..., :3], picture / 255, atol=1e-7)
    assert (seen[..., 3] == 1).all()


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((512, 512), (512, 512)), ((1024, 768), (512, 384)), ((513, 7), (257, 4)), ((7, 4096), (1, 512))],
)
def test_a_large_picture_is_shown_with_as_many_pixels_as_blender_takes_without_a_wait(
    shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pixels = Pixels(picture)
    assert (pixels.height, pixels.width) == shown
    step = -(-max(shape) // SIDE)
    values = pixels.values().reshape(*shown, 4)[::-1, :, :3]
    np.testing.assert_allclose(values, picture[::step, ::step] / 255, atol=1e-6)
