"""Step 3 of training: the index of fronts in which ``picture/caption.py`` looks for words.

    python -m dreamcraft3d.training.captioner --objects FOLDER --cache FOLDER --output FOLDER

describes every rendered front (``training/views.py``), writes the index and says how often the word found for a
validation picture is the right one, and how often it at least names an object of the right category.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from dreamcraft3d.picture.caption import INDEX, Captioner, descriptor
from dreamcraft3d.picture.framing import FramedPicture, frame
from dreamcraft3d.training.captions import caption_of
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.views import CACHE, SIZE, CacheOption, ObjectsOption

COMPONENTS = 96


def fronts(cache: Path, split: str, count: int) -> dict[int, FramedPicture]:
    """The framed fronts of a split by object; objects that show nothing from their front are left out."""
    folder = cache / "views" / split
    rgb, geometry = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rgb", "geometry"))
    pictures = {}
    for index in range(count):
        alpha = torch.from_numpy(geometry[index, 0, ..., :1].astype(np.float32)) / 255
        if alpha.max() > 0.5:
            on_white = torch.from_numpy(rgb[index, 0].astype(np.float32)) / 255
            colour = ((on_white - (1 - alpha)) / alpha.clamp(min=1e-3)).clamp(0, 1)
            pictures[index] = frame(torch.cat([colour, alpha], dim=-1), SIZE)
    return pictures


def main(
    objects: ObjectsOption,
    cache: CacheOption = CACHE,
    output: Annotated[Path, typer.Option(help="Where to write the index.")] = INDEX,
) -> None:
    """Describe the training fronts, write the index and judge it on the validation fronts."""
    train, val = Objects.load(objects, "train"), Objects.load(objects, "val")
    known = fronts(cache, "train", len(train))
    descriptors: Tensor = torch.stack([descriptor(picture) for picture in known.values()])
    Captioner.fit(descriptors, [caption_of(train, i).noun for i in known], COMPONENTS).save(output)
    captioner = Captioner.load(output)
    category = {noun: train.categories[i] for i, noun in reversed(list(zip(known, captioner.nouns, strict=True)))}
    words = {noun.split()[-1] for noun in captioner.nouns}
    found = {i: captioner.noun(picture) for i, picture in fronts(cache, "val", len(val)).items()}
    in_category = [category[noun] == val.categories[i] for i, noun in found.items()]
    truth = {i: caption_of(val, i).noun.split()[-1] for i in found}
    right = [noun.split()[-1] == truth[i] for i, noun in found.items() if truth[i] in words]
    typer.echo(
        f"right category {np.mean(in_category):.1%} of {len(in_category)}, right word {np.mean(right):.1%} of {len(right)}"
    )


if __name__ == "__main__":
    typer.run(main)
