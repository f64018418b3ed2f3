"""Batches of rendered pictures with their words and cameras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamcraft3d.priors.embedded import camera_features
from dreamcraft3d.priors.words import NORMAL_MAP, REFERENCE_VIEW, view_words, with_article
from dreamcraft3d.training.captions import CHANNEL_ORDERS, Caption, caption_of
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.views import SIZE


@dataclass(frozen=True)
class TextBatch:
    """Pictures (B, S, S, 3) in [0, 1], a prompt for each, and where it was seen from, (B,) degrees."""

    pictures: Tensor
    prompts: list[str]
    azimuth: Tensor
    elevation: Tensor

    def camera(self, told: float) -> Tensor:
        """(B, 16) camera features of the first ``told`` of the batch; the 2D use, which the rest is, has none."""
        camera = camera_features(self.azimuth, self.elevation, with_reference=False)
        camera[round(told * len(camera)) :] = 0
        return camera


@dataclass(frozen=True)
class ViewBatch:
    """Reference and target pictures (B, S, S, 3) in [0, 1]; target angles (B,) in degrees, the reference at 0, 0."""

    references: Tensor
    targets: Tensor
    azimuth: Tensor
    elevation: Tensor

    def camera(self, kept: Tensor) -> Tensor:
        """(B, 16) camera features where ``kept`` (B,) is 1; where it is 0, only the flag stays: still the 3D use."""
        camera = camera_features(self.azimuth, self.elevation, with_reference=True)
        return torch.cat([camera[:, :1], camera[:, 1:] * kept[:, None]], dim=1)


class Pictures:
    """The rendered views of one split (``training/views.py``), served in random batches.

    Every object is also served mirrored (its azimuths negated) and with its colour channels swapped.

    Args:
        size: of the pictures; smaller than rendered, all of them are shrunk at once and kept in memory.
    """

    def __init__(self, objects_folder: Path, cache: Path, split: str, size: int = SIZE) -> None:
        folder = cache / "views" / split
        self.rgb, self.geometry = (
            _shrunk(np.load(folder / f"{name}.npy", mmap_mode="r"), size) for name in ("rgb", "geometry")
        )
        self.cameras = np.array(np.load(folder / "cameras.npy", mmap_mode="r"))
        self.objects = Objects.load(objects_folder, split)
        self.captions: list[Caption] = [caption_of(self.objects, i) for i in range(len(self.objects))]

    def _picture(self, index: int, view: int, mirror: bool, order: int) -> np.ndarray:
        picture = self.rgb[index, view]
        if mirror:
            picture = picture[:, ::-1]
        return picture[..., CHANNEL_ORDERS[order]]

    def _angles(self, index: int, view: int, mirror: bool) -> tuple[float, float]:
        azimuth, elevation = self.cameras[index, view]
        return (-azimuth if mirror else azimuth), elevation

    def _normal_map(self, index: int, view: int) -> np.ndarray:
        mask = self.geometry[index, view, ..., :1].astype(np.float32) / 255
        return (self.geometry[index, view, ..., 1:4] * mask + 255 * (1 - mask)).astype(np.uint8)

    def text_batch(self, size: int, rng: np.random.Generator, drop: float = 0.1) -> TextBatch:
        """Pictures with captions and view words; one in ten is a map of world normals, ``drop`` have no words."""
        pictures, prompts, angles = [], [], []
        for index in rng.integers(len(self.objects), size=size):
            caption = self.captions[index]
            mirror, order = rng.random() < 0.5, 0
            if rng.random() < 0.1:
                mirror = False  # a mirrored map's normals would point the wrong way
                view = int(rng.integers(self.geometry.shape[1]))
                pictures.append(self._normal_map(index, view))
                words = f"{NORMAL_MAP} {with_article(caption.noun)}"
            else:
                view = 0 if rng.random() < 0.4 else int(rng.integers(1, self.rgb.shape[1]))
                if not caption.named and rng.random() < 0.4:
                    order = int(rng.integers(1, len(CHANNEL_ORDERS)))
                pictures.append(self._picture(index, view, mirror, order))
                words = caption.write(rng, order)
            place = REFERENCE_VIEW if view == 0 else view_words(*self.cameras[index, view])
            prompts.append("" if rng.random() < drop else f"{words}, {place}")
            angles.append(self._angles(index, view, mirror))
        return TextBatch(_stack(pictures), prompts, *_columns(angles))

    def view_batch(self, size: int, rng: np.random.Generator) -> ViewBatch:
        """Pairs of the front view and another view of the same object."""
        references, targets, angles = [], [], []
        for index in rng.integers(len(self.objects), size=size):
            view = int(rng.integers(1, self.rgb.shape[1]))
            mirror = rng.random() < 0.5
            order = int(rng.integers(len(CHANNEL_ORDERS))) if rng.random() < 0.5 else 0
            references.append(self._picture(index, 0, mirror, order))
            targets.append(self._picture(index, view, mirror, order))
            angles.append(self._angles(index, view, mirror))
        return ViewBatch(_stack(references), _stack(targets), *_columns(angles))


def _shrunk(pictures: np.ndarray, size: int) -> np.ndarray:
    """Pictures (N, V, S, S, C) at another size, by the mean of square cells."""
    if pictures.shape[2] == size:
        return pictures
    cell = pictures.shape[2] // size
    cells = (one.reshape(len(one), size, cell, size, cell, -1) for one in pictures)
    return np.stack([one.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8) for one in cells])


def _stack(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures))).float() / 255


def _columns(angles: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    azimuth, elevation = torch.tensor(np.array(angles), dtype=torch.float32).unbind(dim=1)
    return azimuth, elevation
