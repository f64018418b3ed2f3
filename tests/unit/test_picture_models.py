"""Full-size models for the reference picture, on tiny ones of their very classes and folder layout."""

from __future__ import annotations

import logging
import shutil
import sys
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import MarigoldDepthPipeline, MarigoldNormalsPipeline, StableDiffusionPipeline
from tiny_pictures import (
    PICTURE_SIZE,
    save_blip,
    save_depth_anything,
    save_marigold,
    save_matting,
    save_stable_diffusion,
    save_stable_diffusion_xl,
)
from torch import Tensor
from transformers import AutoModelForDepthEstimation, AutoTokenizer, BlipForConditionalGeneration, DPTImageProcessorPil

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.blip import caption_by_blip, without_background
from dreamcraft3d.picture.depth_normal import distance, estimate_surface, normals
from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.picture.matting_onnx import DEVIATION, MEAN, coverage, cut_out_by_network
from dreamcraft3d.picture.text_to_image import pictures_of_words

PROMPT = "a red mushroom"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    save_stable_diffusion(folder / "sd")
    save_stable_diffusion_xl(folder / "xl")
    for kind in ("depth", "disparity", "normals"):
        save_marigold(folder / kind, kind)
    save_depth_anything(folder / "anything")
    save_blip(folder / "blip")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def rgb() -> Tensor:
    """(40, 40, 3) smooth colours."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, (40, 40), mode="bilinear")[0].permute(1, 2, 0)


@pytest.fixture(scope="module")
def mask() -> Tensor:
    """(40, 40, 1) a disk."""
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(40) - 19.5, indexing="ij")
    return (torch.hypot(x, y) < 14).float()[..., None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# text to picture


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_pictures_are_drawn_by_any_text_to_image_model(models: dict[str, Path], kind: str) -> None:
    drawn = pictures_of_words(models[kind], PROMPT, 2, seeded(), steps=2)
    assert drawn.shape == (2, PICTURE_SIZE, PICTURE_SIZE, 3)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert (drawn[0] - drawn[1]).abs().max() > 0.01


def test_a_seed_draws_the_same_pictures_again(models: dict[str, Path]) -> None:
    first, again, other = (pictures_of_words(models["sd"], PROMPT, 1, seeded(seed), steps=2) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_words_guidance_and_steps_matter_to_a_drawing(models: dict[str, Path]) -> None:
    usual, *others = (
        pictures_of_words(models["sd"], prompt, 1, seeded(), steps=steps, guidance_scale=scale)
        for prompt, scale, steps in ((PROMPT, 7.5, 2), ("a chair", 7.5, 2), (PROMPT, 2.0, 2), (PROMPT, 7.5, 4))
    )
    assert not any(torch.equal(usual, other) for other in others)


def test_models_are_freed_after_use(models: dict[str, Path], rgb: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    for kind in (StableDiffusionPipeline, MarigoldNormalsPipeline):

        def remembering(self: Any, *args: Any, original: Any = kind.__call__, **options: Any) -> Any:
            alive.append(weakref.ref(self.unet))
            return original(self, *args, **options)

        monkeypatch.setattr(kind, "__call__", remembering)
    pictures_of_words(models["sd"], PROMPT, 1, seeded(), steps=1)
    normals(rgb, models["normals"], seeded(), CPU, torch.float32)
    assert len(alive) == 2
    assert all(reference() is None for reference in alive)


def test_what_cannot_draw_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="normals holds no model that draws pictures from words"):
        pictures_of_words(models["normals"], PROMPT, 1, seeded())
    with pytest.raises(UserError, match=r"There is no model folder .*nowhere"):
        pictures_of_words(tmp_path / "nowhere", PROMPT, 1, seeded())


# depth and normals


def test_marigolds_depth_is_far_where_it_says_so(models: dict[str, Path], rgb: Tensor) -> None:
    pipeline = MarigoldDepthPipeline.from_pretrained(models["depth"])
    expected = pipeline(rgb.permute(2, 0, 1)[None], generator=seeded(), output_type="pt").prediction
    found = distance(rgb, models["depth"], seeded(), CPU, torch.float32)
    torch.testing.assert_close(found, expected[0].permute(1, 2, 0))


def test_a_disparity_is_turned_around(models: dict[str, Path], rgb: Tensor) -> None:
    """The two models differ in the name of what they predict alone."""
    depth, disparity = (distance(rgb, models[kind], seeded(), CPU, torch.float32) for kind in ("depth", "disparity"))
    assert depth.std() > 0
    torch.testing.assert_close(disparity, -depth)


def test_depth_anythings_inverse_depth_is_turned_around(models: dict[str, Path], rgb: Tensor) -> None:
    model = AutoModelForDepthEstimation.from_pretrained(models["anything"])
    processor = DPTImageProcessorPil.from_pretrained(models["anything"])
    shown = processor((rgb.numpy() * 255).round().astype("uint8"), return_tensors="pt")
    with torch.no_grad():
        outputs = model(**shown)
    inverse = processor.post_process_depth_estimation(outputs, target_sizes=[(40, 40)])[0]["predicted_depth"]
    found = distance(rgb, models["anything"], seeded(), CPU, torch.float32)[..., 0]
    assert found.std() > 1e-3
    assert torch.corrcoef(torch.stack([found.flatten(), inverse.flatten()]))[0, 1] < -0.99


def test_normals_are_marigolds_right_up_and_toward_the_camera(models: dict[str, Path], rgb: Tensor) -> None:
    pipeline = MarigoldNormalsPipeline.from_pretrained(models["normals"])
    expected = pipeline(rgb.permute(2, 0, 1)[None], generator=seeded(), output_type="pt").prediction
    found = normals(rgb, models["normals"], seeded(), CPU, torch.float32)
    torch.testing.assert_close(found, expected[0].permute(1, 2, 0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["depth", "anything"])
def test_a_surface_is_relative_inside_and_nothing_outside(
    models: dict[str, Path], rgb: Tensor, mask: Tensor, kind: str
) -> None:
    surface = estimate_surface(rgb, mask, models[kind], models["normals"], seeded())
    inside = mask[None, ..., 0] > 0.5
    assert surface.depth.shape == (1, 40, 40, 1)
    assert surface.normal.shape == (1, 40, 40, 3)
    assert surface.depth[inside].min() == 0
    assert surface.depth[inside].max() == 1
    torch.testing.assert_close(surface.normal[inside].norm(dim=-1), torch.ones(int(inside.sum())))
    assert not surface.depth[~inside].any()
    assert not surface.normal[~inside].any()


def test_other_estimators_are_refused(models: dict[str, Path], rgb: Tensor, mask: Tensor, tmp_path: Path) -> None:
    for depth, normal, sentence in (
        ("blip", "normals", "blip holds no depth estimator"),
        ("sd", "normals", "sd holds no depth estimator"),
        ("depth", "anything", "anything holds no normal estimator"),
    ):
        with pytest.raises(UserError, match=sentence):
            estimate_surface(rgb, mask, models[depth], models[normal], seeded())
    with pytest.raises(UserError, match=r"There is no model folder .*nowhere"):
        estimate_surface(rgb, mask, tmp_path / "nowhere", models["normals"], seeded())


# caption


def test_a_caption_is_what_blip_says(models: dict[str, Path], rgb: Tensor, mask: Tensor) -> None:
    said = caption_by_blip(FramedPicture(rgb, mask), models["blip"])
    assert said
    assert set(said.split()) <= {"a", "red", "mushroom", "on", "white", "background"}
    assert said == caption_by_blip(FramedPicture(rgb, mask), models["blip"])


def test_a_caption_depends_on_the_picture_it_is_shown(
    models: dict[str, Path], rgb: Tensor, mask: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def remembering(
        self: Any, *args: Any, original: Any = BlipForConditionalGeneration.generate, **options: Any
    ) -> Any:
        shown.append(options["pixel_values"])
        return original(self, *args, **options)

    monkeypatch.setattr(BlipForConditionalGeneration, "generate", remembering)
    white = torch.ones(8, 8, 3)
    caption_by_blip(FramedPicture(white, torch.ones(8, 8, 1)), models["blip"])
    assert shown[0].shape == (1, 3, 32, 32)
    clip_mean, clip_deviation = (
        torch.tensor(x)[:, None, None]
        for x in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    torch.testing.assert_close(shown[0][0], ((1 - clip_mean) / clip_deviation).expand(3, 32, 32), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a red mushroom on a white background", "a red mushroom"),
        ("a mushroom with white spots", "a mushroom with white spots"),
        ("a chair, against a plain white background", "a chair"),
        ("a car on a pure white backdrop", "a car"),
        ("a car on a solid white surface", "a car"),
        ("a cat on a white table", "a cat on a white table"),
        ("a cup with a white surface and a handle", "a cup with a white surface and a handle"),
    ],
)
def test_a_caption_does_not_speak_of_the_white_around(said: str, kept: str) -> None:
    assert without_background(said) == kept


def test_what_a_caption_says_of_the_background_is_left_out(
    models: dict[str, Path], rgb: Tensor, mask: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(models["blip"])
    said = tokenizer("a red mushroom on a white background", return_tensors="pt").input_ids
    monkeypatch.setattr(BlipForConditionalGeneration, "generate", lambda *_, **__: said)
    assert caption_by_blip(FramedPicture(rgb, mask), models["blip"]) == "a red mushroom"


def test_a_caption_without_weights_gives_a_sentence(
    models: dict[str, Path], rgb: Tensor, mask: Tensor, tmp_path: Path
) -> None:
    shutil.copytree(models["blip"], tmp_path / "blip")
    (tmp_path / "blip" / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"it lacks \*\.safetensors"):
        caption_by_blip(FramedPicture(rgb, mask), tmp_path / "blip")


# matting


def opaque(rgb: Tensor) -> Tensor:
    return torch.cat([rgb, torch.ones_like(rgb[..., :1])], dim=-1)


def disk_on_green(mask: Tensor) -> Tensor:
    """A red disk; :func:`save_matting` makes a network that takes what is red for the object."""
    return torch.where(mask > 0.5, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.8, 0.2]))


def test_a_network_is_shown_its_own_size_normalised(rgb: Tensor, tmp_path: Path) -> None:
    """The network answers with red, normalised, as a logit."""
    pytest.importorskip("onnxruntime")
    save_matting(tmp_path / "red.onnx", side=20, gain=1.0, offset=0.0)
    small = F.interpolate(rgb.permute(2, 0, 1)[None, :1], (20, 20), mode="bilinear", antialias=True)
    expected = F.interpolate(((small - MEAN[0]) / DEVIATION[0]).sigmoid(), (40, 40), mode="bilinear")[0, 0]
    torch.testing.assert_close(coverage(rgb, tmp_path / "red.onnx")[..., 0], expected, atol=1e-5, rtol=1e-5)


def test_a_mask_that_is_none_of_logits_is_taken_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_matting(tmp_path / "mask.onnx", side=16, gain=DEVIATION[0], offset=MEAN[0])
    grey = torch.rand(16, 16, 1, generator=seeded()).expand(16, 16, 3)
    torch.testing.assert_close(coverage(grey, tmp_path / "mask.onnx"), grey[..., :1], atol=1e-5, rtol=1e-5)


def test_a_network_cuts_out_the_object_in_its_own_colours(mask: Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_matting(tmp_path / "red.onnx", side=40, gain=20.0, offset=0.0)
    soft = F.interpolate(disk_on_green(mask).permute(2, 0, 1)[None], (80, 80), mode="bilinear")[0].permute(1, 2, 0)
    found = cut_out_by_network(opaque(soft), tmp_path / "red.onnx")
    wanted = F.interpolate(mask.permute(2, 0, 1)[None], (80, 80))[0].permute(1, 2, 0)
    assert ((found[..., 3:] > 0.5) == (wanted > 0.5)).float().mean() > 0.97
    assert (found[..., 1][found[..., 3] > 0.02] < 0.3).all()  # no green shines through the edge


def test_a_picture_with_transparency_needs_no_network(tmp_path: Path) -> None:
    rgba = torch.rand(8, 8, 4, generator=seeded())
    assert cut_out_by_network(rgba, tmp_path / "nowhere.onnx") is rgba


@pytest.mark.parametrize("offset", [-9.0, 9.0])
def test_a_network_that_finds_nothing_or_everything_says_so(mask: Tensor, tmp_path: Path, offset: float) -> None:
    pytest.importorskip("onnxruntime")
    save_matting(tmp_path / "blind.onnx", side=20, gain=0.0, offset=offset)
    with pytest.raises(UserError, match="finds no object"):
        cut_out_by_network(opaque(disk_on_green(mask)), tmp_path / "blind.onnx")


def test_missing_and_broken_networks_give_sentences(rgb: Tensor, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match=r"There is no matting network .*nowhere\.onnx"):
        coverage(rgb, tmp_path / "nowhere.onnx")
    (tmp_path / "page.onnx").write_text("<html>")
    with pytest.raises(UserError, match=r"page\.onnx cannot be read"):
        coverage(rgb, tmp_path / "page.onnx")


def test_without_onnxruntime_the_sentence_says_how_to_get_it(
    rgb: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"needs the package onnxruntime.*dreamcraft3d\[onnx\]"):
        coverage(rgb, tmp_path / "any.onnx")


# all of them


def test_nobody_is_advised_to_install_torchvision(caplog: pytest.LogCaptureFixture) -> None:
    """None of these tests has it; transformers would name it at each picture processor."""
    logger = logging.getLogger("transformers.utils.import_utils")
    with caplog.at_level(logging.WARNING, logger=logger.name):
        logger.warning("`CLIPImageProcessor` requires torchvision (not installed)")
        logger.warning("something else")
    assert all("torchvision" not in message for message in caplog.messages)
    assert find_spec("torchvision") is None
