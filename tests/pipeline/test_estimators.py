"""Who looks at the reference picture: the models that the preset names, or the embedded ones.

Seen to fail when: a preset's model is passed over for the embedded one, or the other way about; depth and normals are not
turned to the world's axes; words are checked against the embedded vocabulary although full-size models know all.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from runs import Losses, drive, prepare
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.blip import caption_by_blip
from dreamcraft3d.picture.caption import Captioner
from dreamcraft3d.picture.depth_normal import estimate_surface
from dreamcraft3d.picture.framing import FramedPicture, frame
from dreamcraft3d.picture.load import load_picture
from dreamcraft3d.picture.matting import cut_out
from dreamcraft3d.picture.matting_onnx import cut_out_by_network
from dreamcraft3d.picture.surface import SurfaceEstimator
from dreamcraft3d.pipeline.config import Preset, PriorSettings
from dreamcraft3d.pipeline.estimators import Estimators, run_estimators
from dreamcraft3d.pipeline.full_priors import PICTURE_SIZE
from dreamcraft3d.pipeline.reference import Reference, make_reference

CPU = torch.device("cpu")
ROLES = ("matting", "depth", "normals", "caption")


@pytest.fixture
def rgba(picture_file: Path) -> Tensor:
    return load_picture(picture_file)


@pytest.fixture
def framed(rgba: Tensor) -> FramedPicture:
    return frame(cut_out(rgba), 64)


def named(preset: Preset, embedded: bool) -> Estimators:
    changed = dict.fromkeys(ROLES, "embedded") if embedded else {}
    return run_estimators(preset.priors.model_copy(update=changed), CPU, half=True)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_picture_is_cut_out_by_whom_the_preset_names(models: Path, small_paper: Preset, rgba: Tensor) -> None:
    by_network = cut_out_by_network(rgba, models / "birefnet" / "model.onnx")
    assert torch.equal(named(small_paper, False).cut_out(rgba), by_network)
    assert torch.equal(named(small_paper, True).cut_out(rgba), cut_out(rgba))
    assert not torch.equal(by_network, cut_out(rgba))


def test_words_are_those_of_whom_the_preset_names(models: Path, small_paper: Preset, framed: FramedPicture) -> None:
    assert named(small_paper, False).describe(framed) == caption_by_blip(framed, models / "blip")
    assert named(small_paper, True).describe(framed) == Captioner.load().caption(framed)


def test_depth_and_normals_are_those_of_whom_the_preset_names(
    models: Path, small_paper: Preset, framed: FramedPicture
) -> None:
    folders = models / "marigold-depth", models / "marigold-normals"
    full = estimate_surface(framed.rgb, framed.mask, *folders, seeded())
    small = SurfaceEstimator.load().estimate(framed.rgb[None], framed.mask[None])
    for embedded, expected in ((False, full), (True, small)):
        reference = make_reference("an egg", framed, named(small_paper, embedded), seeded())
        torch.testing.assert_close(reference.depth, expected.depth)
        right, up, toward = expected.normal.unbind(dim=-1)
        torch.testing.assert_close(reference.normal, torch.stack([toward, right, up], dim=-1))
    assert not torch.allclose(full.depth, small.depth, atol=0.1)


def test_a_run_without_words_is_looked_at_by_full_size_models(
    models: Path, small_paper: Preset, picture_file: Path, rgba: Tensor, tmp_path: Path
) -> None:
    folder, watcher = prepare(tmp_path / "egg.glb", small_paper, image=picture_file, until="reference"), Losses()
    drive(folder, watcher)
    picture = frame(cut_out_by_network(rgba, models / "birefnet" / "model.onnx"), PICTURE_SIZE)
    caption = caption_by_blip(picture, models / "blip")
    assert watcher.sentences == [f'No prompt was given; the picture reads as "{caption}".']
    made = Reference.load(folder.result("reference"), caption, CPU)
    surface = estimate_surface(
        picture.rgb, picture.mask, models / "marigold-depth", models / "marigold-normals", seeded()
    )
    torch.testing.assert_close(made.mask[0], picture.mask)
    torch.testing.assert_close(made.depth, surface.depth)


@pytest.mark.parametrize("name", ["birefnet", "marigold-depth", "blip"])
def test_a_model_that_is_not_here_ends_the_run_before_it_begins(
    saved_models: Path, small_paper: Preset, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMCRAFT3D_MODELS", str(shutil.copytree(saved_models, tmp_path / "models")))
    shutil.rmtree(tmp_path / "models" / name)
    with pytest.raises(UserError, match=f"{name} is not on this machine"):
        named(small_paper, False)


def test_depth_and_normals_come_from_one_house() -> None:
    with pytest.raises(ValueError, match="both depth and normals"):
        PriorSettings(depth="marigold-depth")
    with pytest.raises(ValueError, match="do not know the words"):
        PriorSettings(caption="blip")
    assert not PriorSettings(matting="birefnet", depth="marigold-depth", normals="marigold-normals").full
