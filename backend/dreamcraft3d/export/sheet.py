"""The pictures people look at: a contact sheet of stages and views, and a turntable."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dreamcraft3d.export.formats import write_atomically

_PAGE = (238, 238, 239)
_GAP = (255, 255, 255)
_LABEL_INK = (52, 54, 58)
_HEADING_INK = (120, 123, 128)


def contact_sheet(
    rows: Sequence[tuple[str, Tensor]], path: Path | str, cell: int = 128, headings: Sequence[str] = ()
) -> None:
    """Write a PNG with a row of pictures for each stage and a column for each view.

    Args:
        rows: a label and (N, H, W, 3) float pictures in [0, 1], sRGB, each; N, H and W may differ from row to row.
        path: the PNG to write; its folder is made.
        cell: pixels, the square each picture is fitted into.
        headings: what stands above the columns, such as azimuths; set in capitals.

    Raises:
        UserError: the file cannot be written.
    """
    margin, gap = max(12, cell // 5), max(3, cell // 32)
    heading_size = max(10, cell // 10)
    label_font = ImageFont.load_default(max(12, cell // 8))
    columns = max((len(pictures) for _, pictures in rows), default=0)
    label_width = max((round(label_font.getlength(label)) for label, _ in rows), default=0)
    left = margin + (label_width + margin * 2 // 3 if label_width else 0)
    top = margin + (round(heading_size * 1.5) if any(headings) else 0)
    across = columns * cell + (columns + 1) * gap
    down = len(rows) * cell + (len(rows) + 1) * gap
    sheet = Image.new("RGB", (left + across + margin, top + down + margin), _PAGE)
    draw = ImageDraw.Draw(sheet)

    def corner(row: int, column: int) -> tuple[int, int]:
        return left + gap + column * (cell + gap), top + gap + row * (cell + gap)

    for column, heading in enumerate(headings[:columns]):
        middle = corner(0, column)[0] + cell / 2
        _spaced(draw, (middle, top - heading_size), heading.upper(), heading_size)
    for row, (label, pictures) in enumerate(rows):
        middle = corner(row, 0)[1] + cell / 2
        draw.text((left - margin * 2 // 3, middle), label, fill=_LABEL_INK, font=label_font, anchor="rm")
        for column, picture in enumerate(pictures):
            x, y = corner(row, column)
            draw.rectangle((x - gap, y - gap, x + cell + gap - 1, y + cell + gap - 1), fill=_GAP)
            fitted = _fitted(picture, cell)
            sheet.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))

    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    write_atomically(path, file.getvalue())


def turntable_gif(frames: Tensor, path: Path | str, fps: float = 20) -> None:
    """Write frames as a GIF that loops for ever, all in one palette so that still parts do not flicker.

    Args:
        frames: (N, H, W, 3) float sRGB in [0, 1].
        path: the GIF to write; its folder is made.
        fps: frames a second, rounded to what GIF can say (hundredths of a second a frame); 50 is the most.

    Raises:
        ValueError: there are no frames.
        UserError: the file cannot be written.
    """
    if len(frames) == 0:
        raise ValueError("a turntable needs at least one frame")
    pictures = [_picture(frame) for frame in frames]
    # a sixteenth of all frames' pixels, side by side, is enough to choose one palette from
    strip = _picture(torch.cat(list(frames[:, ::4, ::4]), dim=1))
    palette = strip.quantize(255, method=Image.Quantize.MEDIANCUT, kmeans=1)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    file = io.BytesIO()
    indexed[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=max(2, round(100 / fps)) * 10,
        loop=0,
        disposal=1,
    )
    write_atomically(path, file.getvalue())


def _spaced(draw: ImageDraw.ImageDraw, centre: tuple[float, float], text: str, size: int) -> None:
    """Draw text about its centre with the letters a little apart, as capitals want to be."""
    font = ImageFont.load_default(size)
    space = size * 0.08
    x = centre[0] - (sum(font.getlength(letter) + space for letter in text) - space) / 2
    for letter in text:
        draw.text((x, centre[1]), letter, fill=_HEADING_INK, font=font, anchor="lm")
        x += font.getlength(letter) + space


def _fitted(picture: Tensor, cell: int) -> Image.Image:
    """The (H, W, 3) picture scaled so that its longer side is ``cell``."""
    whole = _picture(picture)
    scale = cell / max(whole.size)
    size = (max(1, round(whole.width * scale)), max(1, round(whole.height * scale)))
    return whole if size == whole.size else whole.resize(size, Image.Resampling.LANCZOS)


def _picture(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy())
