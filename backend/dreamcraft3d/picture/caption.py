"""Words for a picture: the noun of the most similar training picture, with the colours that the picture really has.

It knows the few hundred nouns of the toy objects (``training/captioner.py`` writes the index that it looks in) and has to
choose one of them, so its answer is an offer for the artist to correct.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.priors.colour_names import dominant_colours
from dreamcraft3d.priors.words import with_article

INDEX = Path(__file__).parents[1] / "priors/embedded_weights/captioner"
SIZE, CELL, BINS = 64, 8, 8


def descriptor(picture: FramedPicture) -> Tensor:
    """(1536,) raw features: colour and coverage as 16 x 16 thumbnails, 512 edge orientations in 8 x 8 cells.

    The orientations are a histogram of gradients (Dalal and Triggs, CVPR 2005) without block normalisation; the square
    root keeps strong edges from drowning the rest.
    """
    channels = torch.cat([picture.rgb, picture.mask], dim=-1).permute(2, 0, 1)[None].float()
    small = F.interpolate(channels, (SIZE, SIZE), mode="bilinear", antialias=True)
    grey = F.pad(small[:, :3].mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    dx = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    dy = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    place = torch.atan2(dy, dx).remainder(math.pi) / math.pi * BINS
    apart = (place - torch.arange(BINS)[:, None, None]).abs()
    share = (1 - torch.minimum(apart, BINS - apart)).clamp(min=0)
    edges = F.avg_pool2d(share * torch.hypot(dx, dy), CELL)[0].flatten()
    thumbnail = F.avg_pool2d(small, SIZE // 16)[0]
    return torch.cat([thumbnail.flatten(), (edges / (edges.sum() + 1e-6)).sqrt()])


@dataclass(frozen=True)
class Captioner:
    """The nearest neighbour among N described pictures.

    Attributes:
        mean: (D,) of the raw descriptors.
        basis: (D, C) from raw descriptors to the C numbers that are compared.
        index: (N, C) what is known.
        nouns: N captions without article and colours: "round mushroom".
    """

    mean: Tensor
    basis: Tensor
    index: Tensor
    nouns: list[str]

    @staticmethod
    def fit(descriptors: Tensor, nouns: list[str], components: int) -> Captioner:
        """Principal components of raw descriptors (N, D), colour, coverage and edges scaled to the same variance."""
        mean = descriptors.mean(dim=0)
        centred = descriptors - mean
        scale = torch.cat([part.var(dim=0).sum().rsqrt().expand(part.shape[1]) for part in _parts(centred)])
        _, _, directions = torch.linalg.svd(centred * scale, full_matrices=False)
        basis = scale[:, None] * directions[:components].T
        return Captioner(mean, basis, centred @ basis, nouns)

    def noun(self, picture: FramedPicture) -> str:
        """What the most similar of the known pictures is called."""
        apart = (self.index - (descriptor(picture) - self.mean) @ self.basis).square().sum(dim=1)
        return self.nouns[int(apart.argmin())]

    def caption(self, picture: FramedPicture) -> str:
        """A caption such as ``a red and white mushroom``."""
        covered = picture.mask[..., 0] > min(0.9, 0.9 * picture.mask.max().item())
        colours = dominant_colours((picture.rgb[covered] * 255).cpu().numpy())
        return with_article(f"{' and '.join(colours)} {self.noun(picture)}")

    def save(self, folder: Path) -> None:
        """Write ``index.safetensors`` (half precision) and ``nouns.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"mean": self.mean, "basis": self.basis, "index": self.index}
        save_file({name: x.half().contiguous() for name, x in tensors.items()}, folder / "index.safetensors")
        (folder / "nouns.json").write_text(json.dumps(self.nouns, indent=0) + "\n")

    @staticmethod
    def load(folder: Path = INDEX) -> Captioner:
        """Read what ``save`` wrote.

        Raises:
            UserError: it is not there.
        """
        if not (folder / "index.safetensors").is_file():
            raise UserError(f"There is no caption index in {folder}.", "Install the package again, or train the index.")
        state = {name: x.float() for name, x in load_file(folder / "index.safetensors").items()}
        return Captioner(state["mean"], state["basis"], state["index"], json.loads((folder / "nouns.json").read_text()))


def _parts(descriptors: Tensor) -> list[Tensor]:
    return list(descriptors.split([3 * 16**2, 16**2, BINS * (SIZE // CELL) ** 2], dim=1))


def caption(picture: FramedPicture) -> str:
    """A caption of a framed picture by the index that ships with the package."""
    return Captioner.load().caption(picture)
