"""An object that a job grows in, and what comes for it, without a backend."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import bpy
import numpy as np

from dreamcraft3d_protocol.messages import Preview, Result

Part = Callable[[str], ModuleType]
JOB = str(uuid.UUID(int=1))
VERTICES = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 1]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
MESH = {"vertices": VERTICES, "faces": FACES, "colours": np.full((4, 3), 1.0, np.float32)}
UV = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)


class Growing:
    """An object of a job, and the previews that come for it."""

    def __init__(self, part: Part, job: str = JOB) -> None:
        self.part, self.job, self.seq = part, job, 0
        self.studio = part("pump").studio()
        self.target = part("scene.target")
        self.target.make(bpy.context, job, "Mushroom", 3.0)
        bpy.ops.ed.undo_push(message="Generate")

    def preview(self, form: str, **arrays: np.ndarray) -> None:
        self.seq += 1
        base = None if form == "mesh" else "t"
        assert self.studio.previews.take(Preview(self.job, self.seq, "coarse", form, "t", base), arrays)  # type: ignore[arg-type]
        texture = self.studio.previews.shapes[self.job].texture
        if texture is not None:
            texture.values()  # until when it is not to be shown

    def result(self) -> None:
        arrays = {"vertices": VERTICES, "faces": FACES, "uv": UV, "texture": np.frombuffer(png(), np.uint8)}
        self.studio.previews.finish(Result(self.job, {}), arrays)

    def sync(self, previews: bool = True) -> int:
        return self.part("scene.sync").update(self.studio, 1.0, previews)

    def grows(self) -> bool:
        """Whether another shape reaches the object now."""
        before = len(self.object.data.polygons) if self.object else 0
        one = before != 1
        faces, corners = (FACES[:1], VERTICES[:3]) if one else (FACES, VERTICES)
        self.preview("mesh", vertices=corners, faces=faces, colours=np.ones_like(corners))
        return self.sync() == 1 and len(self.object.data.polygons) == len(faces)

    @property
    def object(self) -> Any:
        return self.target.find(self.job)


@functools.cache
def png() -> bytes:
    """Two by two, written by Blender."""
    image = bpy.data.images.new("png", 2, 2)
    image.pixels.foreach_set(np.array([1, 0, 0, 1] * 4, np.float32))
    image.pack()
    data = bytes(image.packed_file.data)
    bpy.data.images.remove(image)
    return data


def positions(made: Any) -> np.ndarray:
    values = np.empty(3 * len(made.data.vertices), np.float32)
    made.data.attributes["position"].data.foreach_get("vector", values)
    return values.reshape(-1, 3)


def base_colour_node(made: Any) -> Any:
    nodes = made.data.materials[0].node_tree.nodes
    principled = next(n for n in nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    return principled.inputs["Base Color"].links[0].from_node
