"""Reading a picture file, whatever its kind, into RGBA."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dreamcraft3d.errors import UserError

MAX_PIXELS = 80_000_000
"""More than this is refused unread: a small file can claim to be a picture that fills the memory."""
FORMATS = "PNG JPEG MPO WEBP AVIF BMP TIFF GIF JPEG2000 TGA PPM ICO DDS PSD".split()
"""What is read, where Pillow can; of its others, some run programs on what they are given, such as Ghostscript."""
MAX_SIDE = 2048
"""Larger pictures are reduced to this: nothing later looks at finer detail."""


def load_picture(path: Path | str) -> Tensor:
    """Read a picture upright, as its EXIF orientation says.

    Palette, greyscale, 16-bit and CMYK pictures become RGB; of an animation, the first frame is read. A picture without
    transparency gets alpha 1.

    Args:
        path: a file of one of the kinds in ``FORMATS``.

    Returns:
        (H, W, 4) sRGB and straight alpha in [0, 1], row 0 at the top, its longer side at most ``MAX_SIDE`` pixels.

    Raises:
        UserError: the file is missing, empty, no picture, broken, too large, or transparent all over.
    """
    rgba = _read(Path(path), upright=True)
    rgba.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    picture = torch.from_numpy(np.array(rgba)).float() / 255
    if not picture[..., 3].any():
        raise UserError(f"The picture {path} is transparent all over.", "Give a picture with something on it.")
    return picture


def load_texture(path: Path | str) -> Tensor:
    """Read a picture as it is, whatever its size and orientation, (H, W, 3) sRGB in [0, 1], row 0 at the top.

    Raises:
        UserError: the file is missing, empty, no picture, broken or too large.
    """
    return torch.from_numpy(np.array(_read(Path(path), upright=False).convert("RGB"))).float() / 255


def _read(path: Path, upright: bool) -> Image.Image:
    """A picture file as RGBA."""
    if not path.exists():
        raise UserError(f"There is no file {path}.", "Check the path of the picture.")
    if path.is_dir():
        raise UserError(f"{path} is a folder.", "Name a picture file in it.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is an empty file.", "Save the picture again.")
    try:
        Image.init()
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path)
            return _rgba(ImageOps.exif_transpose(image) if upright else image)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture of a known kind.", "Save it as PNG or JPEG.") from None
    except PermissionError:
        raise UserError(f"{path} may not be read.", "Change the file's permissions.") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error):
        raise UserError(f"The picture {path} is broken.", "Save it again as PNG or JPEG.") from None


def _too_large(path: Path) -> UserError:
    return UserError(f"The picture {path} has more than {MAX_PIXELS // 10**6} million pixels.", "Give a smaller one.")


def _rgba(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):  # one channel; floats are in [0, 1], integers have 16 bits
        grey = np.asarray(image, dtype=np.float32) / (1 if image.mode == "F" else 65535)
        image = Image.fromarray((np.nan_to_num(grey).clip(0, 1) * 255).round().astype(np.uint8))
    if image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert("RGBA")
