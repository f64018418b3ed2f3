"""Which of several drawings becomes the reference picture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.pipeline.estimators import Estimators
from dreamcraft3d.pipeline.reference import picture_from_words
from dreamcraft3d.priors import embedded_drawing
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors

SIZE = 128
RED = torch.tensor([0.75, 0.15, 0.12])
Y, X = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")


def on_white(*shapes: Tensor) -> Tensor:
    """(128, 128, 3) red shapes, masks (128, 128), on white."""
    picture = torch.ones(SIZE, SIZE, 3)
    for shape in shapes:
        picture[shape] = RED
    return picture


BLANK = on_white()
BOX = on_white((X - 64).abs().maximum((Y - 64).abs()) < 38)
SWORD = on_white(((X - 64).abs() < 5) & ((Y - 64).abs() < 40), ((X - 64).abs() < 16) & ((Y - 84).abs() < 4))
CAP = (((X - 64) / 40) ** 2 + ((Y - 64) / 36) ** 2 < 1) & (Y < 62)
MUSHROOM = on_white(CAP, ((X - 64).abs() < 12) & ((Y - 80).abs() < 22))


Choose = Callable[..., FramedPicture]


@pytest.fixture
def chosen(prior: EmbeddedPrior, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """The reference made of a prompt for which these pictures are drawn."""

    def choose(prompt: str, *drawings: Tensor) -> FramedPicture:
        monkeypatch.setattr(embedded_drawing, "draw_pictures", lambda *_: torch.stack(drawings))
        settings = load_preset("embedded").reference
        estimators = Estimators(torch.device("cpu"))
        return picture_from_words(EmbeddedPriors(prior), prompt, settings, torch.Generator(), estimators)

    return choose


def width(picture: FramedPicture, row: float) -> float:
    """How wide the outline is at a height, 0 its top and 1 its bottom, as a share of its greatest width."""
    mask = picture.mask[..., 0] > 0.5
    rows = mask.any(dim=1).nonzero()[:, 0]
    widths = mask.sum(dim=1)
    return float(widths[int(rows[0] + row * (len(rows) - 1))] / widths.max())


def test_the_drawing_most_like_what_words_let_expect_is_chosen(chosen: Choose) -> None:
    mushroom = chosen("a red mushroom", BOX, SWORD, MUSHROOM)
    assert width(mushroom, 0.4) > 0.9
    assert width(mushroom, 0.9) < 0.5
    sword = chosen("a sword", BOX, SWORD, MUSHROOM)
    assert width(sword, 0.3) < 0.5


def test_a_drawing_that_shows_nothing_is_passed_over(chosen: Choose) -> None:
    assert width(chosen("a red mushroom", BLANK, MUSHROOM, BLANK), 0.9) < 0.5


def test_nothing_drawn_at_all_is_said(chosen: Choose) -> None:
    with pytest.raises(UserError, match="another seed"):
        chosen("a red mushroom", BLANK, BLANK)
