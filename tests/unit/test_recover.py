"""The representations recover a known object from pictures of it, in small; the full table is in docs/quality.md."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
import trimesh

from dreamcraft3d.evaluate.recover import GIVEN, Recovered, chamfer, mask_iou, recover_dmtet, recover_field
from dreamcraft3d.render.soup import Views, render_views
from dreamcraft3d.shape.mesh import Mesh


@pytest.fixture(scope="module")
def truth() -> Mesh:
    """A rounded block with a knob: neither a sphere, nor symmetric."""
    block = trimesh.creation.box((0.5, 0.7, 0.4))
    knob = trimesh.creation.icosphere(3, 0.2)
    knob.apply_translation((0.1, 0.15, 0.3))
    joined = trimesh.util.concatenate([block, knob])
    vertices = torch.tensor(joined.vertices, dtype=torch.float32)
    return Mesh(vertices, torch.tensor(joined.faces), (vertices + 0.5).clamp(0, 1))


@pytest.fixture(scope="module")
def pictures(truth: Mesh) -> Views:
    return render_views(truth, GIVEN, 40)


@pytest.mark.parametrize(("way", "overlap"), [("density", 0.8), ("sdf", 0.9), ("dmtet", 0.9)])
def test_a_known_object_is_recovered_from_its_pictures(
    truth: Mesh, pictures: Views, way: Literal["density", "sdf", "dmtet"], overlap: float
) -> None:
    found: Recovered
    if way == "dmtet":
        found = recover_dmtet(pictures, steps=120, resolution=20)
    else:
        found = recover_field(pictures, way, steps=60, resolution=28)
    sphere = trimesh.creation.icosphere(3, 0.5)  # where all of them start
    start = Mesh(torch.tensor(sphere.vertices, dtype=torch.float32), torch.tensor(sphere.faces))
    assert mask_iou(truth, found.mesh, 64) > overlap > mask_iou(truth, start, 64) + 0.05
    assert chamfer(truth, found.mesh) < chamfer(truth, start) / 2
