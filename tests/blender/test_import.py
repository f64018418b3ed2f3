"""What Blender makes of our files, asked of Blender itself (the bpy wheel)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import trimesh

from dreamcraft3d.export.bake import bake
from dreamcraft3d.export.formats import write_glb
from dreamcraft3d.export.unwrap import unwrap
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import load_mesh

bpy = pytest.importorskip("bpy")


def signpost() -> Mesh:
    """A tall box, longer in width (world y) than in depth, with a nose on its front (world +x)."""
    body = trimesh.creation.box((0.2, 0.5, 1.0))
    nose = trimesh.creation.box((0.1, 0.1, 0.1))
    nose.apply_translation((0.15, 0, 0.3))
    joined = trimesh.util.concatenate([body, nose])
    return Mesh(torch.tensor(joined.vertices, dtype=torch.float32), torch.tensor(joined.faces))


def test_a_glb_opens_in_blender_textured_upright_and_facing_front(tmp_path: Path) -> None:
    atlas = unwrap(signpost(), 256)
    baked = bake(atlas, lambda points: points * 0 + torch.tensor([0.8, 0.2, 0.1]), 256)
    write_glb(tmp_path / "sign.glb", atlas, baked.image, "sign")
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "sign.glb"))
    (thing,) = [o for o in bpy.data.objects if o.type == "MESH"]
    corners = [thing.matrix_world @ v.co for v in thing.data.vertices]
    low, high = ([f(c[i] for c in corners) for i in range(3)] for f in (min, max))
    assert math.isclose(high[2] - low[2], 1.0, abs_tol=1e-3)  # upright: z is up
    assert math.isclose(high[0] - low[0], 0.5, abs_tol=1e-3)
    assert math.isclose(low[1], -0.2, abs_tol=1e-3)  # the nose looks toward -y, Blender's front
    assert math.isclose(high[1], 0.1, abs_tol=1e-3)
    (material,) = thing.data.materials
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    image = shader.inputs["Base Color"].links[0].from_node.image
    assert tuple(image.size) == (256, 256)
    assert thing.data.uv_layers


def test_blenders_monkey_comes_in_upright_and_facing_front(tmp_path: Path) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "suzanne.glb"))
    mesh = load_mesh(tmp_path / "suzanne.glb")
    extent = mesh.vertices.amax(dim=0) - mesh.vertices.amin(dim=0)
    width, height = float(extent[1]), float(extent[2])
    assert width > height > float(extent[0])  # ears to the sides, a flat face
    assert mesh.vertices[:, 0].max() > 0.8  # her brow; the back of her head ends at -0.85
    chin, crown = (mesh.vertices[mesh.vertices[:, 2].topk(20, largest=up).indices] for up in (False, True))
    assert chin[:, 0].mean() > crown[:, 0].mean()  # the chin juts forward, the crown slopes back
