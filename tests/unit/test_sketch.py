"""The sketch: what words, camera and reference let one expect of a picture, at 32 px."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.priors.embedded import CAMERA_FEATURES, EmbeddedPrior, camera_features
from dreamcraft3d.priors.latents import PatchLatents
from dreamcraft3d.priors.sketch import Sketch
from dreamcraft3d.priors.words import REFERENCE_VIEW


def sketched(prior: EmbeddedPrior, text: str) -> Tensor:
    """(32, 32, 3) what is expected of a prompt's front, in [0, 1]."""
    words = prior.encode_words([f"{text}, {REFERENCE_VIEW}"])
    nothing = torch.zeros(1, *prior.sketch.shape)
    return as_picture(prior, prior.sketch(prior.steering(words, torch.zeros(1, CAMERA_FEATURES)), nothing))


def as_picture(prior: EmbeddedPrior, thumbnail: Tensor) -> Tensor:
    black = prior.latents.small_thumbnail(torch.zeros(1, 32, 32, 3))
    return F.pixel_shuffle((thumbnail - black) / 2, 2)[0].permute(1, 2, 0)


def darkness(picture: Tensor) -> Tensor:
    """(32, 32) how far from white."""
    return (1 - picture).amax(dim=-1).clamp(min=0)


def test_a_thumbnail_of_latents_is_that_of_the_picture() -> None:
    pictures = torch.rand(8, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    latents = PatchLatents.fit(pictures, 192, 8)  # all components: nothing is lost
    small = F.avg_pool2d(pictures.permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)
    expected = latents.small_thumbnail(small)
    assert expected.shape == (8, 12, 4, 4)
    torch.testing.assert_close(latents.thumbnail(latents.encode(pictures)), expected, atol=1e-4, rtol=0)
    assert not latents.thumbnail(torch.zeros(1, 192, 4, 4)).any()


def test_principal_components_keep_what_they_were_fitted_to() -> None:
    generator = torch.Generator().manual_seed(0)
    spanned = torch.randn(40, 5, generator=generator) @ torch.randn(5, 12 * 16 * 16, generator=generator)
    thumbnails = spanned.unflatten(1, (12, 16, 16))
    sketch = Sketch(20, components=8)
    sketch.fit(thumbnails)
    restored = (sketch.components(thumbnails) * sketch.scale @ sketch.basis.T).unflatten(1, sketch.shape)
    torch.testing.assert_close(restored, thumbnails, atol=2e-3, rtol=1e-3)


def test_words_have_the_right_outlines(prior: EmbeddedPrior) -> None:
    sword, car = (darkness(sketched(prior, text)) for text in ("a sword", "a blue car"))
    assert (sword.mean(dim=0) > 0.1).sum() < 0.6 * (car.mean(dim=0) > 0.1).sum()  # narrower
    assert (sword.mean(dim=1) > 0.02).sum() > 1.1 * (car.mean(dim=1) > 0.02).sum()  # taller
    cap, stem = darkness(sketched(prior, "a red mushroom")).sum(dim=1)[[11, 23]]
    assert cap > 1.5 * stem


@pytest.mark.parametrize(("colour", "channel"), [("red", 0), ("green", 1), ("blue", 2)])
def test_words_have_the_right_colours(prior: EmbeddedPrior, colour: str, channel: int) -> None:
    middle = sketched(prior, f"a {colour} car")[13:19, 13:19].mean(dim=(0, 1))
    assert int(middle.argmax()) == channel


def test_views_turn_with_the_camera(prior: EmbeddedPrior) -> None:
    tower = torch.ones(1, 32, 32, 3)
    tower[:, 4:28, 12:20] = torch.tensor([0.6, 0.3, 0.2])
    reference = prior.latents.small_thumbnail(tower)
    words = prior.encode_words([""])
    front, above = (
        darkness(
            as_picture(
                prior,
                prior.sketch(
                    prior.steering(words, camera_features(torch.tensor([a]), torch.tensor([e]), with_reference=True)),
                    reference,
                ),
            )
        )
        for a, e in ((15.0, 5.0), (15.0, 80.0))
    )
    assert front.mean() > 1.3 * above.mean()  # from above one sees less of it
