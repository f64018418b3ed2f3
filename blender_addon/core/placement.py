# SPDX-License-Identifier: GPL-3.0-or-later
"""From the backend's axes to Blender's, and the place and size an object gets."""

from __future__ import annotations

import numpy as np

from dreamcraft3d_protocol.arrays import Array


def turned(vertices: Array) -> Array:
    """The backend has the front toward +x, Blender toward -y: (x, y, z) becomes (y, -x, z).

    Args:
        vertices: (V, 3).

    Returns:
        (V, 3) float32; a rotation, so faces stay as they are.
    """
    return np.stack([vertices[:, 1], -vertices[:, 0], vertices[:, 2]], axis=1, dtype=np.float32)


def turned_back(vertices: Array) -> Array:
    """From Blender's axes to the backend's, the inverse of :func:`turned`: (x, y, z) becomes (-y, x, z)."""
    return np.stack([-vertices[:, 1], vertices[:, 0], vertices[:, 2]], axis=1, dtype=np.float32)


def standing(vertices: Array) -> Array:
    """In Blender's axes, with the larger side 1 long, standing on the origin.

    So the object's own location is where it stands, and its scale is its size, whatever the preview.

    Args:
        vertices: (V, 3) of the backend, V > 0.

    Returns:
        (V, 3) float32: lowest z is 0, the middle of the bounding box in x and y is 0.
    """
    points = turned(vertices)
    low, high = (np.array([of(axis) for axis in points.T]) for of in (np.min, np.max))  # by axes: 20 times as fast
    foot = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    side = float((high - low).max())
    return np.ascontiguousarray((points - foot) / np.float32(side if side > 0 else 1.0))


def placed(vertices: Array, matrix: Array) -> Array:
    """Back in the axes of the mesh that was sent.

    Args:
        vertices: (V, 3) of the backend.
        matrix: (3, 3) by which the mesh's own axes were seen when it was sent.

    Returns:
        (V, 3) float32; mirrored where the determinant is negative, so faces must be turned round.
    """
    return np.ascontiguousarray(turned(vertices) @ np.linalg.inv(matrix).T, np.float32)


def linear(colours: Array) -> Array:
    """sRGB in [0, 1] as the linear RGBA that Blender keeps: (V, 3) to (V, 4) float32, opaque."""
    low = colours <= 0.04045
    values = np.where(low, colours / 12.92, ((np.maximum(colours, 0.04045) + 0.055) / 1.055) ** 2.4)
    return np.concatenate([values, np.ones((len(values), 1))], axis=1, dtype=np.float32)


ROW_STEP = 1.25
"""From one object of a row to the next, in sizes of one."""


def row(start: tuple[float, float, float], count: int, size: float) -> list[tuple[float, float, float]]:
    """Places of objects side by side, toward +x from ``start``, each at most ``size`` wide."""
    x, y, z = start
    return [(x + number * size * ROW_STEP, y, z) for number in range(count)]


def srgb(colours: Array) -> Array:
    """Linear values as sRGB in [0, 1], of any shape: the inverse of :func:`linear`, without alpha; float32."""
    values = np.clip(colours, 0, 1)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(np.float32)


def title(prompt: str) -> str:
    """What an object made from these words is called: ``a red mushroom`` becomes ``Red Mushroom``."""
    words = prompt.split()
    if len(words) > 1 and words[0].lower() in ("a", "an", "the"):
        words = words[1:]
    return " ".join(word[:1].upper() + word[1:] for word in words)[:48].strip() or "Object"
