"""Plain names for colours, as the captions use them."""

from __future__ import annotations

import re

import numpy as np

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (200, 45, 40),
    "orange": (235, 130, 45),
    "yellow": (240, 205, 70),
    "green": (90, 160, 75),
    "dark green": (45, 90, 50),
    "teal": (60, 175, 150),
    "light blue": (130, 195, 235),
    "blue": (60, 110, 200),
    "purple": (125, 80, 175),
    "pink": (235, 140, 175),
    "brown": (125, 75, 55),
    "tan": (205, 165, 125),
    "white": (245, 245, 245),
    "light grey": (190, 190, 195),
    "grey": (135, 135, 140),
    "dark grey": (75, 75, 80),
    "black": (25, 25, 28),
}
COLOUR_WORDS = frozenset(word for name in PALETTE for word in name.split()) | {"gray"}
_NAMES = re.compile(rf"\b({'|'.join(sorted(PALETTE, key=len, reverse=True))})\b")
_PARTS = re.compile(r"\b(with|of|in)\b")


def whole_colour(prompt: str) -> tuple[int, int, int] | None:
    """The one colour (sRGB, 0 to 255) that a prompt gives a whole object; None where it gives none, or several.

    ``a red mushroom with white spots`` is red; ``a house with a red roof`` and ``a red and white mushroom`` are of none.
    """
    names = _NAMES.findall(_PARTS.split(prompt)[0])
    return PALETTE[names[0]] if len(names) == 1 else None


def _lab(rgb: np.ndarray) -> np.ndarray:
    import cv2  # not for those who only want the words

    return cv2.cvtColor(rgb.astype(np.float32)[None] / 255, cv2.COLOR_RGB2LAB)[0]


def dominant_colours(
    rgb: np.ndarray, weights: np.ndarray | None = None, most: int = 2, share: float = 0.2
) -> list[str]:
    """Names of the colours that cover most of a surface, the largest first.

    Args:
        rgb: (N, 3) sRGB, 0 to 255.
        weights: (N,) area of each sample; equal if None.
        most: how many names at most.
        share: a colour with less than this share of the area is not named (one always is).
    """
    names = list(PALETTE)
    distance = np.linalg.norm(_lab(rgb)[:, None] - _lab(np.array(list(PALETTE.values())))[None], axis=-1)
    areas = np.bincount(distance.argmin(axis=1), weights=weights, minlength=len(names))
    order = np.argsort(-areas)[:most]
    return [names[i] for n, i in enumerate(order) if n == 0 or areas[i] >= share * areas.sum()]
