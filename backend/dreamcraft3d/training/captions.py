"""Captions to train on: cleaned file-name captions, with the colours an object really has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dreamcraft3d.priors.colour_names import COLOUR_WORDS, dominant_colours
from dreamcraft3d.priors.words import with_article
from dreamcraft3d.training.objects import Objects

CHANNEL_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""Colour augmentation: the object with its channels swapped, and its colours named anew."""
_MATERIALS = frozenset(
    "golden gold silver wooden wood snow snowy iron stone glass copper emerald sapphire ruby".split()
)
_NO_ARTICLE = frozenset(["a", "an", "the"])


@dataclass(frozen=True)
class Caption:
    """What is known in words of one object.

    Attributes:
        noun: its caption without article and colours: "round mushroom".
        named: its own caption names a colour or a material, so that its colours may not be swapped.
        original: its caption without article.
        colours: for each of CHANNEL_ORDERS, the names of its dominant colours.
    """

    noun: str
    named: bool
    original: str
    colours: list[list[str]]

    def write(self, rng: np.random.Generator, order: int) -> str:
        """A caption for the object with channel order ``order``: its own words, with colours or without."""
        if order == 0 and (self.named or rng.random() < 0.35):
            words = self.original
        else:
            words = f"{' and '.join(self.colours[order][: int(rng.integers(1, 3))])} {self.noun}"
        return with_article(words)


def caption_of(objects: Objects, index: int) -> Caption:
    """Clean caption and area-weighted colour names of one object."""
    span = slice(objects.offsets[index], objects.offsets[index + 1])
    corners = objects.corners[span].astype(np.float32)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    rgb = objects.colours[span].mean(axis=1)
    words = [w for w in objects.captions[index].lower().replace("-", " ").split() if w not in _NO_ARTICLE]
    noun = [w for w in words if w not in COLOUR_WORDS] or words
    colours = [dominant_colours(rgb[:, list(order)], area) for order in CHANNEL_ORDERS]
    return Caption(" ".join(noun), noun != words or bool(_MATERIALS & set(words)), " ".join(words), colours)
