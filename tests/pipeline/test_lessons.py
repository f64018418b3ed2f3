"""What the DreamBooth is taught, all around or one by one.

Seen to fail when: one by one, the frozen prior restores more than the first, the DreamBooth restores at its own scale, the
oldest pictures are kept, a picture is taken for another camera's, the reference is among them, restoring goes on while the
object is painted; all around, restoring is repeated within a round.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dreamcraft3d.pipeline.config import Preset, TextureSettings, changed
from dreamcraft3d.pipeline.lessons import AllAround, OneByOne
from dreamcraft3d.priors.base import Guidance
from dreamcraft3d.render.camera import Cameras

CPU = torch.device("cpu")
PICTURE, LATENT = 8, 4


class Known:
    """Knows one picture, all of one value, and notes what it is asked at which scale."""

    alphas_cumprod = torch.linspace(0.999, 0.001, 1000)

    def __init__(self, value: float, asked: list[float], scale: float = 2.0) -> None:
        self.value, self.asked, self.scale = value, asked, scale

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures.mean(dim=(1, 2, 3)).reshape(-1, 1, 1, 1).expand(-1, 3, LATENT, LATENT)

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        self.asked.append(self.scale)
        alpha = self.alphas_cumprod[timesteps][:, None, None, None]
        return (noisy - alpha.sqrt() * self.value) / (1 - alpha).sqrt()

    def at_scale(self, scale: float) -> Guidance:
        return Known(self.value, self.asked, scale)

    @property
    def parameters(self) -> list[nn.Parameter]:
        return []

    def loss(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
        return clean.sum()

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


@pytest.fixture
def settings(tiny_preset: Preset) -> TextureSettings:
    one_by_one = {
        "restore_every": 2,
        "restored_views": 3,
        "dreambooth_steps": 5,
        "restore_scale": 7.0,
        "restore_steps": 4,
    }
    return changed(tiny_preset, {"texture": one_by_one}).texture


def grey(cameras: Cameras) -> Tensor:
    return torch.full((len(cameras), PICTURE, PICTURE, 3), 0.5)


Kind = type[OneByOne] | type[AllAround]


def lessons(settings: TextureSettings, kind: Kind) -> tuple[OneByOne | AllAround, list[float], list[float]]:
    """Taught from a frozen prior that knows 0.1 and a DreamBooth that knows 0.9; what each is asked."""
    frozen: list[float] = []
    taught: list[float] = []
    shared = settings, grey, lambda: Known(0.1, frozen, 7.0), torch.Generator().manual_seed(0)
    first = Known(0.9, taught) if kind is OneByOne else torch.zeros(1, PICTURE, PICTURE, 3)
    return kind(first, *shared), frozen, taught  # type: ignore[arg-type]


def means(pictures: Tensor | None) -> list[float]:
    assert pictures is not None
    return [round(float(picture.mean()), 1) for picture in pictures]


def test_one_by_one_the_first_is_restored_by_the_frozen_prior_and_all_others_by_the_dreambooth(
    settings: TextureSettings,
) -> None:
    found, frozen, taught = lessons(settings, OneByOne)
    told = [found.renew(within, 1.0) for within in range(8)]
    assert [new is not None for new in told] == [True, False, True, False, True, False, False, False]
    assert means(found.pictures) == [0.1, 0.9, 0.9]
    assert frozen
    assert set(taught) == {7.0}


def test_the_newest_are_kept_each_with_its_camera(settings: TextureSettings) -> None:
    found, _, _ = lessons(settings, OneByOne)
    cameras = []
    for _ in range(4):
        found.renew(0, 0.5)
        cameras.append(found.cameras[[-1]])
    assert means(found.pictures) == [0.9] * 3
    assert found.cameras.azimuth.tolist() == [float(camera.azimuth) for camera in cameras[1:]]
    assert len({float(camera.azimuth) for camera in cameras}) == 4


def test_all_around_they_are_restored_once_a_round_the_reference_first(settings: TextureSettings) -> None:
    found, frozen, _ = lessons(settings, AllAround)
    assert found.renew(1, 1.0) is None
    assert not frozen
    assert means(found.renew(0, 1.0)) == [0.0, 0.1, 0.1, 0.1]
    assert found.cameras.azimuth.tolist() == pytest.approx([0, 0, 120, 240])


@pytest.mark.parametrize("kind", [OneByOne, AllAround])
def test_a_picture_is_drawn_with_its_own_camera(settings: TextureSettings, kind: Kind) -> None:
    found, _, _ = lessons(settings, kind)
    for _ in range(3):
        found.renew(0, 0.5)
    assert found.pictures is not None
    found.pictures = torch.arange(len(found.cameras), dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2)
    pictures, cameras = found.draw(2)
    assert len(pictures) == 2
    for picture, azimuth in zip(pictures, cameras.azimuth, strict=True):
        assert azimuth == found.cameras.azimuth[int(picture.mean())]


def test_they_go_on_from_their_state(settings: TextureSettings) -> None:
    whole, resumed = (lessons(settings, OneByOne)[0] for _ in range(2))
    whole.renew(0, 0.5)
    resumed.restore(whole.state(), CPU)
    resumed.generator.set_state(whole.generator.get_state())
    for each in (whole, resumed):
        each.renew(2, 0.5)
    assert whole.pictures is not None
    assert resumed.pictures is not None
    torch.testing.assert_close(resumed.pictures, whole.pictures)
    assert resumed.cameras.azimuth.tolist() == whole.cameras.azimuth.tolist()
