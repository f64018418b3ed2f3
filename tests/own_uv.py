"""A ball with a UV map and a texture of its own, for tests."""

from __future__ import annotations

import io

import numpy as np
import torch
import trimesh
from PIL import Image

from dreamcraft3d.export.unwrap import unwrap
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d_protocol.arrays import Array

HEIGHT, WIDTH = 96, 128


def ball() -> dict[str, Array]:
    """``vertices``, ``faces`` and ``uv`` of a ball far from the origin, its vertices in no order and one of them unused."""
    made = trimesh.creation.icosphere(2, 3.0)
    order = np.random.default_rng(1).permutation(len(made.vertices))
    vertices = np.float32(made.vertices[order] + (40, -7, 12))
    faces = np.int64(np.argsort(order)[made.faces])
    atlas = unwrap(Mesh(torch.from_numpy(vertices), torch.from_numpy(faces)), WIDTH)
    uv = atlas.uv[atlas.faces].reshape(-1, 2).numpy()
    lone = np.float32([[100, 100, 100]])
    return {"vertices": np.concatenate([lone, vertices]), "faces": np.int32(faces + 1), "uv": uv}


def texture() -> Array:
    """(H, W, 3) uint8, no two texels alike."""
    return np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def png(pixels: Array) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def pixels_of(picture: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(picture)))


def upper_half(arrays: dict[str, Array]) -> Array:
    """A weight for each corner: 1 for faces in the upper half."""
    corners = arrays["vertices"][arrays["faces"]]
    return np.repeat(np.float32(corners[..., 2].min(axis=1) > 12), 3)
