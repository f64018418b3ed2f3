"""Pictures of an object's front, drawn by the embedded prior."""

from __future__ import annotations

import torch
from torch import Tensor

from dreamcraft3d.priors.base import Drawing
from dreamcraft3d.priors.colour_names import whole_colour
from dreamcraft3d.priors.embedded import EmbeddedPrior, FrontGuidance
from dreamcraft3d.priors.sampling import noised, restore
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.shading import AMBIENT, HEAD, SKY

LIT = AMBIENT + HEAD * 2 / 3 + SKY / 2
"""How bright a picture shows a colour: the light on a ball, on average."""


def draw_pictures(
    prior: EmbeddedPrior, prompt: str, wish: Drawing, generator: torch.Generator, negative: str = ""
) -> Tensor:
    """``wish.count`` pictures (count, 128, 128, 3) of a prompt, seen exactly from the front: a noisy sketch, restored."""
    guidance = FrontGuidance(prior, prompt, wish.scale, negative)
    cameras = Cameras.at([0.0] * wish.count)
    noisy = noised(guidance, guidance.sketched(cameras), wish.start, generator)
    latents = restore(guidance, noisy, cameras, start=wish.start, steps=wish.steps)
    return prior.latents.decode(latents).clamp(0, 1)


def best_first(
    prior: EmbeddedPrior, prompt: str, wish: Drawing, generator: torch.Generator, negative: str = ""
) -> Tensor:
    """The same, those nearest to what the prior expects of the prompt first."""
    pictures = draw_pictures(prior, prompt, wish, generator, negative)
    return pictures[_unlikeness(prior, prompt, pictures).argsort()]


def redraw(
    prior: EmbeddedPrior,
    picture: Tensor,
    prompt: str,
    wish: Drawing,
    generator: torch.Generator,
    negative: str = "",
) -> Tensor:
    """A picture (1, 128, 128, 3) noised to ``wish.start`` and restored as the words would have it."""
    guidance = FrontGuidance(prior, prompt, wish.scale, negative)
    noisy = noised(guidance, prior.latents.encode(picture), wish.start, generator)
    return prior.latents.decode(restore(guidance, noisy, Cameras.at(0.0), wish.start, wish.steps)).clamp(0, 1)


def undulled(drawn: Tensor, prompt: str) -> Tensor:
    """Colours (N, 3) of a drawing, all moved alike, so that the half of them nearest to the colour in the words is it.

    A prior this small draws every colour on the way to the mean of all: of ten, cars had a third of the chroma that the
    words ask for, and a yellow one was olive. Where the words give the whole object no single colour, nothing is moved.
    """
    _, shift = _toward_named(drawn, prompt)
    return (drawn + shift).clamp(0, 1)


def tinted(drawn: Tensor, prompt: str) -> Tensor:
    """The same, but what is farther from that colour than the half is moved the less, the farther it is.

    The stem of a red mushroom stays white.
    """
    share, shift = _toward_named(drawn, prompt)
    return (drawn + share * shift).clamp(0, 1)


def _toward_named(drawn: Tensor, prompt: str) -> tuple[Tensor, Tensor]:
    """How near (N, 1) colours are to the one that words name, 1 for the nearest half, and its mean's way there (3,)."""
    named = whole_colour(prompt)
    if named is None or len(drawn) == 0:
        return torch.zeros_like(drawn[:, :1]), drawn.new_zeros(3)
    colour = LIT * drawn.new_tensor(named) / 255
    apart = (drawn - colour).square().sum(dim=1)
    nearest = apart.argsort()[: (len(drawn) + 1) // 2]
    share = torch.exp(1 - apart / apart[nearest].max().clamp(min=1e-6)).clamp(max=1)
    return share[:, None], colour - drawn[nearest].mean(dim=0)


@torch.no_grad()
def _unlikeness(prior: EmbeddedPrior, prompt: str, pictures: Tensor) -> Tensor:
    """(B,) mean squared difference of pictures' thumbnails from the sketch of a prompt's front."""
    expected = FrontGuidance(prior, prompt, 1.0).sketched(Cameras.at(0.0))
    apart = prior.latents.thumbnail(prior.latents.encode(pictures) - expected)
    return apart.square().mean(dim=(1, 2, 3))
