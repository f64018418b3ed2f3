"""A mesh that brings its UV map: kept exactly, its texture painted anew or in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import own_uv
import pytest
import torch
from runs import Watcher, drive, go_on, prepare
from safetensors.numpy import load_file
from scipy.ndimage import binary_dilation

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.bake import Canvas
from dreamcraft3d.export.unwrap import gutter, laid_out
from dreamcraft3d.pipeline.config import Preset, changed
from dreamcraft3d.pipeline.driver import Stopped
from dreamcraft3d.pipeline.given import read_given
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.uv_map import check_uv
from dreamcraft3d_protocol.arrays import Array

CPU = torch.device("cpu")


def written(folder: Path, picture: Array | None, mask: Array | None = None, **more: Array) -> dict[str, Path]:
    """What is given, as files."""
    files = {"mesh": folder / "given.npz"}
    np.savez(files["mesh"], **own_uv.ball() | more)
    for role, pixels in (("uv_texture", picture), ("uv_mask", mask)):
        if pixels is not None:
            files[role] = folder / f"{role}.png"
            files[role].write_bytes(own_uv.png(pixels))
    return files


def result(folder: RunFolder) -> tuple[dict[str, Array], Array]:
    return load_file(folder.result("final")), own_uv.pixels_of((folder.path / "out.png").read_bytes())


def assert_kept(made: dict[str, Array]) -> None:
    for name, array in own_uv.ball().items():
        np.testing.assert_array_equal(made[name], array)


@pytest.mark.parametrize("textured", [True, False], ids=["textured", "bare"])
def test_a_mesh_that_keeps_its_uv_map_comes_back_bit_for_bit(
    tmp_path: Path, tiny_preset: Preset, textured: bool
) -> None:
    files = written(tmp_path, own_uv.texture() if textured else None)
    folder = prepare(tmp_path / "out.glb", tiny_preset, prompt="a red ball", first="texture", **files)
    drive(folder)
    made, painted = result(folder)
    assert_kept(made)
    size = tiny_preset.export.texture
    assert painted.shape == (own_uv.texture().shape if textured else (size, size, 3))
    assert (painted != own_uv.texture()).any() if textured else painted.std() > 0


def test_a_part_is_repainted_and_no_texel_of_the_rest_changes(tmp_path: Path, tiny_preset: Preset) -> None:
    arrays = own_uv.ball()
    weights = own_uv.upper_half(arrays)
    folder = prepare(
        tmp_path / "out.glb",
        tiny_preset,
        prompt="a red ball",
        first="texture",
        **written(tmp_path, own_uv.texture(), part=weights),
    )
    drive(folder)
    made, painted = result(folder)
    assert_kept(made)
    tensors = (torch.from_numpy(arrays[name]) for name in ("vertices", "faces", "uv"))
    vertices, faces, uv = tensors
    canvas = Canvas.of(laid_out(Mesh(vertices, faces.long(), uv=uv)), own_uv.HEIGHT, own_uv.WIDTH)
    marked = np.zeros((own_uv.HEIGHT, own_uv.WIDTH), bool)
    marked[canvas.rows, canvas.columns] = canvas.interpolate_corners(torch.from_numpy(weights)[:, None])[:, 0] > 0
    changed = (painted != own_uv.texture()).any(axis=-1)
    assert changed[marked].mean() > 0.95
    reach = binary_dilation(marked, np.ones((3, 3)), iterations=gutter(own_uv.WIDTH))
    assert not changed[~reach].any()
    assert not changed[canvas.covered.numpy() & ~marked].any()


def test_a_mask_blends_where_it_is_grey(tmp_path: Path, tiny_preset: Preset) -> None:
    mask = np.zeros((own_uv.HEIGHT, own_uv.WIDTH), np.uint8)
    mask[:, own_uv.WIDTH // 2 :] = 255
    mask[: own_uv.HEIGHT // 2, own_uv.WIDTH // 2 :] = 51
    white = np.full_like(own_uv.texture(), 255)
    files = written(tmp_path, white, mask)
    given = read_given(files["mesh"], 0.8, CPU, files["uv_texture"], files["uv_mask"])
    image = given.painted(torch.zeros_like, 64).image[..., 0].numpy()
    reach = 1 + gutter(own_uv.WIDTH)
    assert (image[:, : own_uv.WIDTH // 2 - reach] == 1).all()
    right = image[:, own_uv.WIDTH // 2 + reach :]
    np.testing.assert_allclose(right[: own_uv.HEIGHT // 2 - reach], 0.8, atol=1e-6)
    np.testing.assert_allclose(right[own_uv.HEIGHT // 2 + reach :], 0.0, atol=1e-6)


def test_a_stopped_repainting_goes_on_to_the_same_texture(tmp_path: Path, tiny_preset: Preset) -> None:
    files = written(tmp_path, own_uv.texture(), part=own_uv.upper_half(own_uv.ball()))
    asked = {"prompt": "a red ball", "first": "texture", **files}
    whole = prepare(tmp_path / "whole" / "out.glb", tiny_preset, **asked)
    drive(whole)
    folder = prepare(tmp_path / "out.glb", tiny_preset, **asked)
    with pytest.raises(Stopped):
        drive(folder, Watcher(("texture", 2)))
    drive(folder)
    np.testing.assert_array_equal(result(folder)[1], result(whole)[1])


@pytest.mark.parametrize(("times", "side"), [(1, 128), (8, 512)], ids=["a small texture", "a large one"])
def test_what_is_shown_meanwhile_is_the_mesh_as_it_was_sent_with_no_more_texels_than_a_viewport_needs(
    tmp_path: Path, tiny_preset: Preset, times: int, side: int
) -> None:
    picture = own_uv.texture().repeat(times, axis=0).repeat(times, axis=1)
    files = written(tmp_path, picture)
    folder = prepare(tmp_path / "out.glb", tiny_preset, prompt="a red ball", first="texture", **files)
    watcher = Watcher(shows=True)
    drive(folder, watcher)
    shown = watcher.surfaces[-1][1]
    assert shown is not None
    assert shown.uv is not None
    assert shown.texture is not None
    arrays = own_uv.ball()
    for name, tensor in {"vertices": shown.vertices, "faces": shown.faces, "uv": shown.uv}.items():
        np.testing.assert_array_equal(tensor.numpy(), arrays[name])
    assert shown.texture.shape == (side * 3 // 4, side, 3)
    assert result(folder)[1].shape == picture.shape


def overlapping(arrays: dict[str, Array]) -> Array:
    return np.tile(np.float32([[0, 0], [1, 0], [0, 1]]), (len(arrays["faces"]), 1))


@pytest.mark.parametrize(
    ("changes", "mask", "words"),
    [
        ({"part": np.zeros(960, np.float32)}, None, "Nothing is marked"),
        ({}, np.zeros((8, 8), np.uint8), "Nothing is marked"),
        ({"uv": overlapping(own_uv.ball())}, None, "over each other"),
    ],
    ids=["nothing by corners", "a black mask", "overlaps"],
)
def test_what_cannot_be_painted_is_said(
    tmp_path: Path, changes: dict[str, Array], mask: Array | None, words: str
) -> None:
    files = written(tmp_path, own_uv.texture(), mask, **changes)
    with pytest.raises(UserError, match=words):
        read_given(files["mesh"], 0.8, CPU, files["uv_texture"], files.get("uv_mask"))


@pytest.mark.parametrize(
    ("scale", "offset", "words"),
    [(1.0, 1.0, "from 1."), (0.0, 0.5, "100 % of the surface")],
    ids=["outside", "a point"],
)
def test_a_uv_map_without_a_place_for_the_surface_is_refused(scale: float, offset: float, words: str) -> None:
    arrays = own_uv.ball()
    with pytest.raises(UserError, match=words):
        check_uv(arrays["vertices"], arrays["faces"], arrays["uv"] * np.float32(scale) + np.float32(offset))


def test_a_repainting_that_is_gone_on_with_keeps_mesh_and_mask_and_starts_from_its_texture(
    tmp_path: Path, tiny_preset: Preset
) -> None:
    files = written(tmp_path, own_uv.texture(), part=own_uv.upper_half(own_uv.ball()))
    base = prepare(tmp_path / "base" / "out.glb", tiny_preset, prompt="a red ball", first="texture", **files)
    drive(base)
    idle = changed(tiny_preset, {"texture": {"dreambooth_steps": 0, "distil_steps": 0, "restore_levels": []}})
    folder = go_on(tmp_path / "out.glb", idle, base, "texture", first="texture", **files)
    drive(folder)
    made, painted = result(folder)
    assert_kept(made)
    before = result(base)[1]
    np.testing.assert_array_equal(painted == own_uv.texture(), before == own_uv.texture())
    np.testing.assert_allclose(painted.astype(int), before.astype(int), atol=3)
