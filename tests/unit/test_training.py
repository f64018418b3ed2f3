"""Training on a dataset of three objects: batches, captions and losses."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.framing import FRONT_FILL
from dreamcraft3d.priors.colour_names import PALETTE, dominant_colours
from dreamcraft3d.priors.embedded import LATENT_CHANNELS, EmbeddedPrior
from dreamcraft3d.priors.latents import PatchLatents
from dreamcraft3d.priors.words import NORMAL_MAP, REFERENCE_VIEW, build_tokenizer, with_article
from dreamcraft3d.render.camera import half_height
from dreamcraft3d.training.captions import CHANNEL_ORDERS, Caption, caption_of
from dreamcraft3d.training.objects import Objects
from dreamcraft3d.training.pictures import Pictures
from dreamcraft3d.training.prior import Examples
from dreamcraft3d.training.sketch import PATCH, THUMBNAIL, of_text, of_views

SIZE, VIEWS, GEOMETRY_VIEWS = 128, 4, 2
CAPTIONS = ("Red-Ball", "a wooden box", "Cone")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects and views in the layout of ``training/objects.py`` and ``training/views.py``.

    The pictures are not renders: half of each is the object's colour, and how bright the other half is tells the view.
    """
    root = tmp_path_factory.mktemp("dataset")
    shapes = [trimesh.creation.icosphere(1), trimesh.creation.box((1, 2, 1)), trimesh.creation.cone(1, 2)]
    colours = np.array([[210, 40, 40], [130, 80, 55], [200, 45, 40]], dtype=np.uint8)
    corners = [shape.triangles.astype(np.float32) for shape in shapes]
    counts = [len(c) for c in corners]
    np.savez(
        root / "train.npz",
        verts=np.concatenate(corners),
        cols=np.repeat(colours, counts, axis=0)[:, None].repeat(3, axis=1),
        offsets=np.cumsum([0, *counts]),
        ids=np.array(["a", "b", "c"]),
        captions=np.array(CAPTIONS),
        category=np.array(["x", "x", "x"]),
    )
    views = root / "views" / "train"
    views.mkdir(parents=True)
    rgb = np.empty((3, VIEWS, SIZE, SIZE, 3), dtype=np.uint8)
    rgb[:, :, :, : SIZE // 2] = colours[:, None, None, None]
    rgb[:, :, :, SIZE // 2 :] = (40 * np.arange(VIEWS, dtype=np.uint8))[None, :, None, None, None]
    cameras = np.stack([np.array([0, 30, 130, -80]), np.array([0, 10, -5, 70])], axis=-1).astype(np.float32)
    geometry = np.zeros((3, GEOMETRY_VIEWS, SIZE, SIZE, 5), dtype=np.uint8)
    geometry[..., 32:96, 32:96, :] = [255, 255, 128, 128, 100]
    np.save(views / "rgb.npy", rgb)
    np.save(views / "cameras.npy", cameras[None].repeat(3, axis=0))
    np.save(views / "geometry.npy", geometry)
    return root


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Pictures:
    return Pictures(folder, folder, "train")


@pytest.fixture(scope="module")
def untrained(pictures: Pictures) -> EmbeddedPrior:
    """A model as training makes it at its start."""
    torch.manual_seed(0)
    latents = PatchLatents.fit(torch.rand(16, SIZE, SIZE, 3), LATENT_CHANNELS, PATCH)
    vocabulary = [
        f"{c.original} red blue green brown side back front straight view overhead" for c in pictures.captions
    ]
    return EmbeddedPrior(latents, build_tokenizer([*vocabulary, f"{NORMAL_MAP} a an and"]))


def test_objects_are_framed_and_turned_to_world_axes(folder: Path) -> None:
    objects = Objects.load(folder, "train")
    assert len(objects) == 3
    box = objects.mesh(1)
    depth, width, height = (box.vertices.amax(dim=0) - box.vertices.amin(dim=0)).tolist()
    assert height == pytest.approx(2 * width)  # the file's y is up
    assert depth == pytest.approx(width)
    assert height / (2 * half_height()) == pytest.approx(FRONT_FILL)
    assert box.colours is not None
    assert len(box.colours) == len(box.vertices)
    torch.testing.assert_close(objects.mesh(1, jitter=0.5).vertices, box.vertices / 2)


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.npz"):
        Objects.load(tmp_path, "train")


def test_captions_are_cleaned(pictures: Pictures) -> None:
    ball, box, cone = pictures.captions
    assert (ball.noun, ball.original, ball.named) == ("ball", "red ball", True)
    assert (box.noun, box.original, box.named) == ("wooden box", "wooden box", True)
    assert (cone.noun, cone.named) == ("cone", False)


def test_swapped_channels_rename_the_colours(folder: Path) -> None:
    cone = caption_of(Objects.load(folder, "train"), 2)
    names = {order: cone.colours[i][0] for i, order in enumerate(CHANNEL_ORDERS)}
    assert names[(0, 1, 2)] == "red"
    assert names[(1, 0, 2)] == "green"
    assert len({name for colours in cone.colours for name in colours}) >= 3


def test_a_caption_is_its_own_words_or_its_colours() -> None:
    caption = Caption("cone", False, "cone", [["blue", "white"], *[["red"]] * 5])
    written = {caption.write(rng(seed), 0) for seed in range(60)}
    assert written == {"a cone", "a blue cone", "a blue and white cone"}
    assert {caption.write(rng(seed), 5) for seed in range(20)} == {"a red cone"}
    apple = Caption("apple", True, "apple", [["red"]] * 6)
    assert apple.write(rng(), 0) == "an apple"


def test_every_named_colour_is_called_by_its_name() -> None:
    for name, rgb in PALETTE.items():
        assert dominant_colours(np.array([rgb])) == [name]


def test_colours_are_named_by_the_area_they_cover() -> None:
    rgb = np.array([PALETTE["red"], PALETTE["blue"], PALETTE["green"]])
    assert dominant_colours(rgb, np.array([1.0, 5.0, 0.1])) == ["blue"]
    assert dominant_colours(rgb, np.array([2.0, 5.0, 0.1])) == ["blue", "red"]


def test_mirrored_pictures_have_their_azimuth_negated(pictures: Pictures) -> None:
    batch = pictures.view_batch(200, rng())
    views = (batch.targets[:, 0, [0, -1], 0] * 255 / 40).round()  # which view, in the half that tells it
    azimuths = torch.tensor([0.0, 30.0, 130.0, -80.0])
    elevations = torch.tensor([0.0, 10.0, -5.0, 70.0])
    for target, azimuth, elevation, ends in zip(batch.targets, batch.azimuth, batch.elevation, views, strict=True):
        left, right = target[0, 0], target[0, -1]
        mirrored = bool(left.max() == left.min())  # the grey half lies left
        view = int(ends[0 if mirrored else 1])
        assert azimuth == azimuths[view] * (-1 if mirrored else 1)
        assert elevation == elevations[view]
        assert bool(right.max() == right.min()) != mirrored
    assert 60 < sum(bool(t[0, 0].max() == t[0, 0].min()) for t in batch.targets) < 140


def test_reference_and_target_are_mirrored_and_swapped_alike(pictures: Pictures) -> None:
    batch = pictures.view_batch(100, rng())
    for reference, target in zip(batch.references, batch.targets, strict=True):
        grey = reference.amax(dim=-1) == reference.amin(dim=-1)
        assert torch.equal(reference[~grey], target[~grey])
        assert (reference[grey] == 0).all()  # the reference is view 0
    swapped = {tuple((r.amax(dim=(0, 1)) * 255).round().int().tolist()) for r in batch.references}
    assert len(swapped) > 3 * 2


def test_text_batches_say_what_the_picture_shows(pictures: Pictures) -> None:
    batch = pictures.text_batch(400, rng())
    assert batch.pictures.shape == (400, SIZE, SIZE, 3)
    assert 0 <= batch.pictures.min() < batch.pictures.max() <= 1
    empty = [prompt for prompt in batch.prompts if not prompt]
    assert 20 < len(empty) < 65
    fronts = [p for p in batch.prompts if p.endswith(REFERENCE_VIEW)]
    assert 80 < len(fronts) < 200
    for prompt, picture in zip(batch.prompts, batch.pictures, strict=True):
        if prompt.startswith(NORMAL_MAP):
            assert (picture[0, 0] == 1).all()
            torch.testing.assert_close(picture[64, 64], torch.tensor([255, 128, 128]) / 255)
        elif "red ball" in prompt:  # what names its colour is never swapped
            assert tuple((picture.amax(dim=(0, 1)) * 255).round().int().tolist()[:1]) == (210,)
    assert any(p.startswith(NORMAL_MAP) for p in batch.prompts)
    assert all(p for p in pictures.text_batch(50, rng(), drop=0.0).prompts)


def test_colour_words_of_swapped_pictures_are_those_of_the_swapped_colours(pictures: Pictures) -> None:
    batch = pictures.text_batch(400, rng(1))
    seen = set()
    for prompt, picture in zip(batch.prompts, batch.pictures, strict=True):
        if "cone" not in prompt or prompt.startswith((NORMAL_MAP, "a cone")):
            continue
        colourful = picture[0][(picture[0].amax(dim=-1) - picture[0].amin(dim=-1)) > 0.1]
        name = dominant_colours((colourful[:1] * 255).numpy())[0]
        assert prompt.startswith(with_article(f"{name} "))
        seen.add(name)
    assert len(seen) > 2


def test_two_steps_reach_every_weight_of_the_unet(pictures: Pictures, untrained: EmbeddedPrior) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(untrained.unet.parameters(), lr=1e-4)
    before = {name: p.detach().clone() for name, p in untrained.unet.named_parameters()}
    for step in range(2):
        views = Examples.of_views(untrained, pictures.view_batch(3, rng(step)), 0.1, generator)
        both = views.and_(Examples.of_text(untrained, pictures.text_batch(3, rng(step))))
        assert len(both.clean) == 6
        loss = both.loss(untrained, generator)
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in untrained.unet.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimizer.step()
    changed = [name for name, p in untrained.unet.named_parameters() if not torch.equal(p, before[name])]
    assert len(changed) == len(before)


def test_the_2d_use_has_no_camera_and_no_reference(pictures: Pictures, untrained: EmbeddedPrior) -> None:
    text = Examples.of_text(untrained, pictures.text_batch(4, rng()))
    assert not text.camera.any()
    assert not text.reference.any()


def test_the_3d_use_drops_reference_and_camera_together_and_keeps_its_flag(
    pictures: Pictures, untrained: EmbeddedPrior
) -> None:
    generator = torch.Generator().manual_seed(0)
    views = Examples.of_views(untrained, pictures.view_batch(40, rng()), 0.5, generator)
    assert (views.camera[:, 0] > 0).all()
    dropped = ~views.reference.flatten(1).any(dim=1)
    assert 8 < dropped.sum() < 32
    assert torch.equal(dropped, ~views.camera[:, 1:].any(dim=1))
    assert (views.words == views.words[0]).all()


def test_small_pictures_are_the_means_of_the_large_ones(folder: Path, pictures: Pictures) -> None:
    small = Pictures(folder, folder, "train", THUMBNAIL)
    large, shrunk = (p.view_batch(8, rng()) for p in (pictures, small))
    expected = large.targets.unflatten(2, (THUMBNAIL, -1)).unflatten(1, (THUMBNAIL, -1)).mean(dim=(2, 4))
    torch.testing.assert_close(shrunk.targets, expected, atol=0.5 / 255 + 1e-6, rtol=0)
    assert torch.equal(large.azimuth, shrunk.azimuth)


def test_regression_teaches_a_sketch_words_and_views(folder: Path, untrained: EmbeddedPrior) -> None:
    small = Pictures(folder, folder, "train", THUMBNAIL)
    prior = copy.deepcopy(untrained).requires_grad_(True)
    prior.sketch.fit(prior.latents.small_thumbnail(small.text_batch(200, rng()).pictures))
    optimizer = torch.optim.AdamW([*prior.text_encoder.parameters(), *prior.sketch.parameters()], lr=2e-3)
    losses: list[torch.Tensor] = []
    for step in range(150):
        text, views = small.text_batch(16, rng(step), drop=0.0), small.view_batch(16, rng(step))
        pairs = of_text(prior, text), of_views(prior, views, torch.ones(16))
        loss = torch.stack([(expected - truth).square().mean() for expected, truth in pairs])
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    first, last = (torch.stack(losses[part]).mean(dim=0) for part in (slice(3), slice(-3, None)))
    assert (last < torch.tensor([0.7, 0.2]) * first).all()  # words do not tell which side, nor whether mirrored


def test_a_view_that_is_not_kept_tells_nothing_of_reference_and_camera(folder: Path, untrained: EmbeddedPrior) -> None:
    views = Pictures(folder, folder, "train", THUMBNAIL).view_batch(4, rng())
    expected, _ = of_views(untrained, views, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert torch.equal(expected[0], expected[2])
    assert not torch.allclose(expected[1], expected[3])
