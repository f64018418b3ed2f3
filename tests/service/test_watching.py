"""What of a run's samples reaches a client. Seen to fail when they are sent as they are, or a later client gets none."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import torch
from torch import Tensor

from dreamcraft3d.service.gallery import Gallery
from dreamcraft3d.service.preview_mesh import PREVIEW_FACES
from dreamcraft3d.service.watching import SAMPLES_SIDE, Watch
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import Preview

JOB = str(uuid.UUID(int=1))


def sampled(pictures: Tensor) -> tuple[Preview, np.ndarray]:
    told: list[Received] = []
    watch = Watch(JOB, 1, "texture", lambda message, arrays: told.append((message, arrays)), lambda: False, bool)
    watch.stepped("texture", 5, {"lora": 0.1, "round": 2, "t'": 0.3})
    watch.sampled("texture", 5, pictures)
    preview, arrays = told[-1]
    assert isinstance(preview, Preview)
    return preview, arrays["picture"]


def test_many_large_samples_are_sent_small_and_in_their_places() -> None:
    shades = torch.linspace(0, 1, 6)
    preview, pixels = sampled(shades[:, None, None, None].expand(6, 512, 512, 3))
    assert (preview.subject, preview.caption) == ("samples", "round 2, t' 0.3")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (512, SAMPLES_SIDE, 3)
    centres = pixels[128::256, 128::256, 0].ravel()
    assert centres.tolist() == [round(float(shade) * 255) for shade in shades] + [255, 255]


@pytest.mark.parametrize("side", [48, 256])
def test_small_samples_are_sent_as_they_are(side: int) -> None:
    pictures = torch.rand(4, side, side, 3, generator=torch.Generator().manual_seed(0))
    _, pixels = sampled(pictures)
    assert np.array_equal(pixels, (torch.cat(list(pictures), dim=1) * 255).round().byte().numpy())


def test_previews_of_a_job_that_goes_on_are_newer_than_those_before_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = []
    for begun, clock in ((1, 2e9), (2, 1e9)):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        told: list[Received] = []
        watch = Watch(
            JOB, begun, "texture", lambda message, arrays, told=told: told.append((message, arrays)), bool, bool
        )
        for _ in range(3):
            watch.sampled("texture", 5, torch.rand(1, 8, 8, 3))
        numbers += [message.seq for message, _ in told if isinstance(message, Preview)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 6


def test_who_comes_later_is_shown_both_pictures_and_the_mesh_as_it_is_now() -> None:
    gallery, faces = Gallery(), np.array([[0, 1, 2]], np.int32)
    old, new = np.zeros((3, 3), np.float32), np.ones((3, 3), np.float32)
    gallery.put(Preview(JOB, 1, "reference", "picture", "", None, "reference"), {"picture": old})
    gallery.put(Preview(JOB, 2, "geometry", "mesh", "t", None), {"vertices": old, "faces": faces, "colours": old})
    gallery.put(Preview(JOB, 3, "texture", "picture", "", None, "samples"), {"picture": old})
    gallery.put(Preview(JOB, 4, "texture", "colours", "t", "t"), {"colours": new})
    gallery.put(Preview(JOB, 5, "texture", "picture", "", None, "samples"), {"picture": new})
    shown = gallery.whole(JOB)
    assert [m for m, _ in shown] == [
        Preview(JOB, 1, "reference", "picture", "", None, "reference"),
        Preview(JOB, 5, "texture", "picture", "", None, "samples"),
        Preview(JOB, 4, "texture", "mesh", "t", None),
    ]
    assert shown[1][1]["picture"] is new
    assert {name: array is new for name, array in shown[2][1].items()} == {
        "vertices": False,
        "faces": False,
        "colours": True,
    }


def test_who_comes_later_is_shown_the_mesh_and_the_texture_that_is_painted_in_its_own_uv_map() -> None:
    told: list[Received] = []
    watch = Watch(JOB, 1, "texture", lambda message, arrays: told.append((message, arrays)), lambda: False, bool)
    corners, uv = torch.eye(3), torch.rand(3, 2)
    gallery = Gallery()
    for shade in (0.0, 1.0):
        mesh = Mesh(corners, torch.tensor([[0, 1, 2]]), uv=uv, texture=torch.full((4, 6, 3), shade))
        watch._next_preview = 0.0
        watch.shaped("texture", lambda mesh=mesh: mesh)  # type: ignore[misc]
    for message, arrays in told:
        assert isinstance(message, Preview)
        gallery.put(message, arrays)
    assert [m.form for m, _ in told if isinstance(m, Preview)] == ["mesh", "texture", "texture"]
    (mesh_shown, whole), (texture_shown, painted) = gallery.whole(JOB)
    assert (mesh_shown.form, texture_shown.form) == ("mesh", "texture")  # type: ignore[attr-defined]
    np.testing.assert_array_equal(whole["vertices"], corners)
    np.testing.assert_array_equal(painted["uv"], uv)
    assert painted["texture"].shape == (4, 6, 3)
    assert (painted["texture"] == 255).all()


def waves(u: Tensor, v: Tensor) -> Tensor:
    return torch.stack([u, v, 0.1 * torch.sin(9 * u) * torch.cos(7 * v)], dim=-1).reshape(-1, 3)


def test_of_a_very_fine_mesh_a_preview_has_as_many_triangles_as_are_allowed_and_then_colours_alone() -> None:
    side = 330
    u, v = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    index = torch.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = torch.cat([torch.stack(corners, dim=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
    vertices = waves(u, v)
    told: list[Received] = []
    watch = Watch(JOB, 1, "geometry", lambda message, arrays: told.append((message, arrays)), lambda: False, bool)
    for colours in (vertices / 2 + 0.5, 0.5 - vertices / 2):
        watch._next_preview = 0.0
        watch.shaped("geometry", lambda colours=colours: Mesh(vertices, faces, colours))  # type: ignore[misc]
    (whole, shown), (painted, repainted) = told
    assert isinstance(whole, Preview)
    assert isinstance(painted, Preview)
    assert (whole.form, painted.form, painted.base) == ("mesh", "colours", whole.topology)
    assert len(faces) > PREVIEW_FACES
    assert 0.9 * PREVIEW_FACES < len(shown["faces"]) <= PREVIEW_FACES
    assert shown["faces"].max() < len(shown["vertices"]) == len(shown["colours"]) == len(repainted["colours"])
    on_surface = waves(*torch.from_numpy(shown["vertices"][:, :2]).unbind(1))
    assert float((torch.from_numpy(shown["vertices"]) - on_surface).abs().max()) < 1e-3
    for sign, sent in ((1, shown), (-1, repainted)):  # colours stay where they are on the surface
        np.testing.assert_allclose(sent["colours"], 0.5 + sign * shown["vertices"] / 2, atol=0.01)
