# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest shape of each job, kept until the scene can take it.

A preview is laid over what is held. What the scene has not got yet is ``stale``; it may be written later, at once, in any
order, so an artist in edit mode misses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dreamcraft3d_protocol.arrays import Array, Arrays
from dreamcraft3d_protocol.messages import Preview, Result, Subject

from .pixels import Pixels

Part = Literal["faces", "positions", "colours", "uv", "texture"]
ALL: frozenset[Part] = frozenset(("faces", "positions", "colours", "uv", "texture"))


@dataclass
class Shape:
    """A mesh as the backend made it, in the backend's axes.

    Attributes:
        topology: names the faces.
        seq: of the newest preview in it.
        colours: (V, 3) sRGB, or None once there is a texture.
        uv: (3F, 2) with ``texture``, or None.
        png: bytes of the final texture; where it is set, the shape is final.
        stale: parts that the scene does not show yet; ``faces`` means all of them.
    """

    topology: str
    seq: int
    vertices: Array
    faces: Array
    colours: Array | None = None
    uv: Array | None = None
    texture: Pixels | None = None
    png: bytes | None = None
    stale: set[Part] = field(default_factory=lambda: set(ALL))

    @property
    def final(self) -> bool:
        return self.png is not None

    @property
    def ready(self) -> bool:
        """Whether it can be written without waiting."""
        return self.texture is None or self.texture.ready


@dataclass(frozen=True)
class Picture:
    """One that a job has sent.

    Attributes:
        pixels: (H, W, 3) uint8, row 0 at the top.
        caption: for the artist, or empty.
    """

    pixels: Array
    caption: str


class Previews:
    """Shapes by job; pictures by job and by what they show."""

    def __init__(self) -> None:
        self.shapes: dict[str, Shape] = {}
        self.pictures: dict[str, dict[Subject, Picture]] = {}

    def take(self, preview: Preview, arrays: Arrays) -> bool:
        """Lay a preview over what is held; False if the mesh it changes is not held, and must be asked for."""
        job = preview.job
        if preview.form == "picture":
            self.pictures.setdefault(job, {})[preview.subject] = Picture(arrays["picture"], preview.caption)
            return True
        held = self.shapes.get(job)
        if held is not None and (held.final or preview.seq < held.seq):
            return True
        if preview.form == "mesh":
            self.shapes[job] = Shape(
                preview.topology, preview.seq, arrays["vertices"], arrays["faces"], arrays["colours"]
            )
            return True
        if held is None or held.topology != preview.base or not _fits(held, arrays):
            return False
        held.seq = preview.seq
        if preview.form == "positions":
            held.vertices = arrays["vertices"]
        elif preview.form == "colours":
            held.colours = arrays["colours"]
        else:
            held.texture = Pixels(arrays["texture"])
            if held.uv is None or not np.array_equal(held.uv, arrays["uv"]):
                held.uv = arrays["uv"]
                held.stale.add("uv")
        held.stale.add(preview.form)
        return True

    def finish(self, result: Result, arrays: Arrays) -> None:
        """Hold what a job has made in the end; of a job that made a picture alone, that there is no shape."""
        if "vertices" not in arrays:
            return
        self.shapes[result.job] = Shape(
            "final", 0, arrays["vertices"], arrays["faces"], uv=arrays["uv"], png=arrays["texture"].tobytes()
        )

    def stale(self) -> dict[str, Shape]:
        """Those that the scene does not show as they are, and can take now."""
        return {job: shape for job, shape in self.shapes.items() if shape.stale and shape.ready}

    def show_again(self, job: str) -> bool:
        """The scene has lost what it was given, by undo perhaps; False if nothing is held."""
        if job not in self.shapes:
            return False
        self.shapes[job].stale |= ALL
        return True

    def drop(self, job: str) -> None:
        self.shapes.pop(job, None)
        self.pictures.pop(job, None)


def _fits(shape: Shape, arrays: Arrays) -> bool:
    """Whether there is a value for each vertex, or for each corner."""
    lengths = {"vertices": len(shape.vertices), "colours": len(shape.vertices), "uv": 3 * len(shape.faces)}
    return all(len(array) == lengths.get(name, len(array)) for name, array in arrays.items())
