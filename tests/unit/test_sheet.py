"""Contact sheets and turntables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.sheet import contact_sheet, turntable_gif

RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def plain(*colours: tuple[float, float, float], height: int = 40, width: int = 40) -> Tensor:
    return torch.stack([torch.tensor(colour).expand(height, width, 3) for colour in colours])


def read(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def where(sheet: NDArray[np.int64], colour: tuple[float, float, float]) -> NDArray[np.int64]:
    """Rows and columns (N, 2) of the pixels of one pure colour."""
    return np.argwhere((sheet == np.array(colour) * 255).all(axis=-1))


def inked(area: NDArray[np.int64]) -> bool:
    return bool((area.max(axis=-1) < 180).any())


def test_each_picture_fills_its_cell_in_its_row_and_column(tmp_path: Path) -> None:
    contact_sheet([("coarse", plain(RED, GREEN)), ("texture", plain(BLUE))], tmp_path / "sheet.png", cell=96)
    sheet = read(tmp_path / "sheet.png")
    red, green, blue = (where(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert len(red) == len(green) == len(blue) == 96 * 96
    assert (red.min(axis=0)[0], red.min(axis=0)[1]) == (green.min(axis=0)[0], blue.min(axis=0)[1])
    assert green.min(axis=0)[1] > red.max(axis=0)[1]
    assert blue.min(axis=0)[0] > red.max(axis=0)[0]


def test_pictures_are_parted_by_white(tmp_path: Path) -> None:
    contact_sheet([("coarse", plain(RED, GREEN))], tmp_path / "sheet.png", cell=96)
    sheet = read(tmp_path / "sheet.png")
    red, green = where(sheet, RED), where(sheet, GREEN)
    between = sheet[red[:, 0].min() : red[:, 0].max(), red[:, 1].max() + 1 : green[:, 1].min()]
    assert between.shape[1] >= 3
    assert (between == 255).all()


def test_a_row_or_column_more_makes_the_sheet_larger_by_a_cell_and_its_gap(tmp_path: Path) -> None:
    sizes = []
    for number, (rows, columns) in enumerate([(1, 1), (1, 2), (2, 1)]):
        contact_sheet([("same", plain(*[RED] * columns))] * rows, tmp_path / f"{number}.png", cell=128)
        sizes.append(Image.open(tmp_path / f"{number}.png").size)
    (width, height), wider, taller = sizes
    assert wider == (width + 132, height)
    assert taller == (width, height + 132)


def test_labels_stand_left_of_their_rows(tmp_path: Path) -> None:
    contact_sheet([("coarse", plain(RED)), ("", plain(GREEN))], tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    for colour, labelled in ((RED, True), (GREEN, False)):
        (top, left), (bottom, _) = where(sheet, colour).min(axis=0), where(sheet, colour).max(axis=0)
        assert inked(sheet[top:bottom, : left - 8]) is labelled


def test_headings_stand_above_their_columns(tmp_path: Path) -> None:
    contact_sheet([("", plain(RED, GREEN))], tmp_path / "sheet.png", headings=["", "90°"])
    sheet = read(tmp_path / "sheet.png")
    for colour, headed in ((RED, False), (GREEN, True)):
        (top, left), (_, right) = where(sheet, colour).min(axis=0), where(sheet, colour).max(axis=0)
        assert inked(sheet[: top - 4, left:right]) is headed


def test_a_picture_that_is_not_square_keeps_its_shape(tmp_path: Path) -> None:
    contact_sheet([("wide", plain(RED, height=20, width=40))], tmp_path / "sheet.png", cell=96)
    (height, width) = np.ptp(where(read(tmp_path / "sheet.png"), RED), axis=0) + 1
    assert (height, width) == (48, 96)


def spinning(count: int = 12, size: int = 64) -> Tensor:
    """A shaded disc on white whose hue turns."""
    row, column = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    disc = (row**2 + column**2 < 0.5)[..., None]
    angle = torch.arange(count)[:, None, None] / count * 2 * torch.pi + column
    colours = torch.stack([0.5 + 0.4 * angle.cos(), 0.5 + 0.4 * angle.sin(), 0.5 + 0.4 * row.expand_as(angle)], dim=-1)
    return torch.where(disc, colours, 1.0)


def test_a_turntable_loops_for_ever_at_its_speed(tmp_path: Path) -> None:
    turntable_gif(spinning(), tmp_path / "turn.gif", fps=10)
    gif = Image.open(tmp_path / "turn.gif")
    assert (gif.n_frames, gif.info["loop"], gif.info["duration"], gif.size) == (12, 0, 100, (64, 64))


def test_a_turntable_keeps_colours_and_a_still_background(tmp_path: Path) -> None:
    frames = spinning()
    turntable_gif(frames, tmp_path / "turn.gif")
    gif = Image.open(tmp_path / "turn.gif")
    for index, frame in enumerate(frames):
        gif.seek(index)
        shown = torch.tensor(np.asarray(gif.convert("RGB"))) / 255
        assert (shown - frame).abs().mean() < 4 / 255
        assert (shown[:8] == 1).all()


def test_a_sheet_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    for write in (contact_sheet, turntable_gif):
        with pytest.raises(UserError, match="is a folder"):
            write([("coarse", plain(RED))] if write is contact_sheet else plain(RED), tmp_path)
