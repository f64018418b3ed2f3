"""File formats: GLB, OBJ and PLY, written whole or not at all.

World axes are z up, front +x. GLB and OBJ are y up, front +z; PLY says nothing and gets Blender's z up, front -y. All
three arrive in Blender standing, with their front toward the front view.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from PIL import Image
from torch import Tensor
from trimesh.exchange import gltf, obj
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.unwrap import Atlas
from dreamcraft3d.shape.mesh import Mesh

_GENERATOR = "DreamCraft3D"
_ROUGHNESS = 0.9  # the colours hold whatever light the views had: a matte surface adds the least to it
# glTF's numbers for: linear filters with mip levels, and no wrapping, as islands may touch the picture's edge
_SAMPLER = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


def settle(temporary: Path, path: Path) -> None:
    """Give a finished file its name once it is on the disk: a power cut leaves it, or what was there. Raises OSError."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write a file by way of a temporary one beside it, making its folder: nobody ever reads half a file.

    Raises:
        UserError: the file cannot be written there.
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder.", hint="Give the name of a file in it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        settle(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written: {reason}.", hint="Choose another folder.") from error


def write_glb(path: Path | str, atlas: Atlas, image: Tensor, name: str) -> None:
    """Write one binary glTF 2.0 with the texture inside: one node, mesh and material called ``name``.

    Metallic 0, roughness 0.9, single-sided. Vertex normals are written, averaged across texture seams: glTF viewers
    must shade a mesh without normals flat, and normals taken island by island would show the seams.

    Args:
        path: the file to write; its folder is made.
        atlas: positions in world units.
        image: (H, W, 3) float sRGB in [0, 1], row 0 at the top.
        name: what the object is called in the scene.

    Raises:
        UserError: the file cannot be written.
    """
    material = PBRMaterial(
        name=name, baseColorTexture=_picture(image), metallicFactor=0.0, roughnessFactor=_ROUGHNESS, doubleSided=False
    )
    scene = trimesh.Scene()
    scene.add_geometry(_y_up(atlas, material), node_name=name, geom_name=name)

    def finish(tree: dict[str, Any]) -> None:
        tree["asset"]["generator"] = _GENERATOR
        # without trimesh's "world" node, which Blender would show as an empty above the object
        tree["nodes"] = [{"name": name, "mesh": 0}]
        tree["scenes"] = [{"nodes": [0]}]
        tree["images"][0]["name"] = name
        tree["samplers"] = [_SAMPLER]
        tree["textures"][0]["sampler"] = 0
        (primitive,) = tree["meshes"][0]["primitives"]
        for accessor in primitive["attributes"].values():
            tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]["target"] = _ARRAY_BUFFER
        tree["bufferViews"][tree["accessors"][primitive["indices"]]["bufferView"]]["target"] = _ELEMENT_ARRAY_BUFFER

    write_atomically(path, gltf.export_glb(scene, include_normals=True, tree_postprocessor=finish))


def write_obj(path: Path | str, atlas: Atlas, image: Tensor, name: str) -> None:
    """Write an OBJ with normals, and beside it the MTL and PNG it names, all three with the stem of ``path``.

    Args, axes and errors as for ``write_glb``.
    """
    path = Path(path)
    stem = _one_word(path.stem)
    material = SimpleMaterial(image=_picture(image), diffuse=[255] * 4, ambient=[255] * 4, specular=[0, 0, 0, 255])
    material.name = stem
    text, beside = obj.export_obj(
        _y_up(atlas, material), include_normals=True, return_texture=True, mtl_name=f"{stem}.mtl", header=_GENERATOR
    )
    for file, content in beside.items():
        write_atomically(path.parent / file, content)
    write_atomically(path, text.replace("\nusemtl", f"\no {_one_word(name)}\nusemtl", 1).encode())


def write_ply(path: Path | str, mesh: Mesh) -> None:
    """Write a binary PLY with vertex colours, if the mesh has any.

    Args:
        path: the file to write; its folder is made.
        mesh: positions in world units.

    Raises:
        UserError: the file cannot be written.
    """
    x, y, z = mesh.vertices.detach().cpu().numpy().T
    colours = None if mesh.colours is None else _bytes(mesh.colours)
    solid = trimesh.Trimesh(
        np.stack([y, -x, z], axis=1), mesh.faces.cpu().numpy(), vertex_colors=colours, process=False
    )
    write_atomically(path, solid.export(file_type="ply"))


def _y_up(atlas: Atlas, material: PBRMaterial | SimpleMaterial) -> trimesh.Trimesh:
    """The atlas in glTF's axes, with normals and texture."""

    def turn(vectors: Tensor) -> np.ndarray:
        return vectors.detach().cpu().numpy()[:, [1, 2, 0]]

    return trimesh.Trimesh(
        turn(atlas.vertices),
        atlas.faces.cpu().numpy(),
        vertex_normals=turn(_vertex_normals(atlas)),
        visual=trimesh.visual.TextureVisuals(uv=atlas.uv.cpu().numpy(), material=material),
        process=False,
    )


def _vertex_normals(atlas: Atlas) -> Tensor:
    """(V', 3) area-weighted unit normals, the same on both sides of a texture seam; up where faces cancel out."""
    source = atlas.source_index
    a, b, c = atlas.vertices.double()[atlas.faces].unbind(1)
    twice_area = torch.linalg.cross(b - a, c - a)
    total = torch.zeros(int(source.max()) + 1, 3, dtype=torch.float64, device=source.device)
    total.index_add_(0, source[atlas.faces].reshape(-1), twice_area.repeat_interleave(3, dim=0))
    length = total.norm(dim=1, keepdim=True)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64, device=source.device)
    return torch.where(length > 1e-12 * length.max(), total / length.clamp_min(1e-300), up)[source].float()


def _one_word(name: str) -> str:
    """The name as OBJ and MTL can hold it: they separate words by spaces."""
    return re.sub(r"\s+", "_", name)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(_bytes(image))


def _bytes(image: Tensor) -> np.ndarray:
    """[0, 1] floats as uint8, rounded."""
    return (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
