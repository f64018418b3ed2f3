"""How many bytes a pass or a render will take, by the laws that ``plan/measure.py`` fitted."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources


@cache
def laws() -> dict[str, dict[str, list[float]]]:
    """The coefficients, by what was measured and by the kind of pass."""
    return tomllib.loads(resources.files("dreamcraft3d.plan").joinpath("activations.toml").read_text(encoding="utf-8"))


def pass_bytes(law: str, how: str, channels: int, size: int, batch: int, half: bool = False) -> int:
    """Of one pass over ``batch`` inputs.

    Args:
        law: "sd-unet", "zero123-unet", "if-unet", "vae-encoder" or "vae-decoder".
        how: "infer", "through" (gradient of the input), "train" or "checkpointed".
        channels: of the model's first block.
        size: side of the input, pixels (of latents, for a decoder).
        half: in two bytes a number instead of four.
    """
    a, b, c, d = laws()[law][how]
    pixels = size * size
    return round(batch * (a * channels * pixels + b * pixels + c * channels + d) * (0.5 if half else 1.0))


def volume_bytes(size: int, samples: int, views: int) -> int:
    """Of rendering ``views`` pictures of a field with gradients, ``samples`` along the box's diagonal."""
    by_sample, by_ray = laws()["volume"]["train"]
    return round(views * size * size * (by_sample * samples + by_ray))


def mesh_bytes(size: int, faces: int, views: int) -> int:
    """Of rendering ``views`` pictures of a mesh with gradients."""
    by_pixel, by_face = laws()["mesh"]["train"]
    return round(views * (size * size * by_pixel + faces * by_face))


def tetrahedra_bytes(cells: int) -> int:
    """Of extracting a surface from a grid of ``cells`` a side, with gradients."""
    by_cell, by_square = laws()["tetrahedra"]["train"]
    return round(by_cell * cells**3 + by_square * cells**2)
