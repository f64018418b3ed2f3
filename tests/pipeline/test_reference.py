"""Which of several drawings becomes the reference picture, in which colours, and how much is made of its surface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.pipeline.config import ReferenceLosses, load_preset
from dreamcraft3d.pipeline.estimators import Estimators
from dreamcraft3d.pipeline.losses import reference_losses
from dreamcraft3d.pipeline.reference import Reference, picture_from_words
from dreamcraft3d.priors import embedded_drawing
from dreamcraft3d.priors.colour_names import PALETTE
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_drawing import LIT
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
STEM = ((X - 64).abs() < 12) & ((Y - 80).abs() < 22) & ~CAP
MUSHROOM = on_white(CAP, STEM)


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


def test_a_drawing_takes_the_colour_that_the_words_name_and_what_is_far_from_it_stays(chosen: Choose) -> None:
    dull = torch.ones(SIZE, SIZE, 3)
    dull[CAP], dull[STEM] = torch.tensor([0.62, 0.42, 0.4]), torch.tensor([0.85, 0.85, 0.88])
    rgb = chosen("a red mushroom", dull).rgb
    red = LIT * torch.tensor(PALETTE["red"]) / 255
    assert (rgb[SIZE // 3, SIZE // 2] - red).abs().max() < 0.02
    assert (rgb[-SIZE // 4, SIZE // 2] - torch.tensor([0.85, 0.85, 0.88])).abs().max() < 0.06
    house = chosen("a mushroom with a red roof", dull).rgb
    assert (house[SIZE // 3, SIZE // 2] - torch.tensor([0.62, 0.42, 0.4])).abs().max() < 0.02


def test_the_colours_for_another_object_are_all_moved_alike() -> None:
    drawn = torch.tensor([[0.6, 0.4, 0.4], [0.62, 0.42, 0.4], [0.7, 0.8, 0.8]])
    moved = embedded_drawing.undulled(drawn, "a red mushroom") - drawn
    assert (moved - moved[0]).abs().max() < 1e-6
    assert moved[0, 0] > 0 > moved[0, 1]


@pytest.mark.parametrize("surface", [1.0, 0.0])
def test_a_surface_counts_as_much_as_it_is_to_be_relied_upon(surface: float, tmp_path: Path) -> None:
    mask = torch.ones(1, 8, 8, 1)
    pictures = (torch.rand(1, 8, 8, channels) for channels in (3, 1, 3))
    rgb, depth, normal = pictures
    Reference("an egg", rgb, mask, depth, normal, surface).save(tmp_path / "reference.safetensors")
    reference = Reference.load(tmp_path / "reference.safetensors", "an egg", "cpu").at(4)
    seen = Reference("an egg", *(torch.rand(1, 4, 4, channels) for channels in (3, 1, 1, 3)))
    losses = reference_losses(ReferenceLosses(rgb=1, mask=1, depth=1, normal=1), reference, seen)
    assert set(losses) == ({"rgb", "mask", "depth", "normal"} if surface else {"rgb", "mask"})
