"""Step 2 of training: words, and the sketch of a picture that they, a camera and a reference let one expect.

    python -m dreamcraft3d.training.sketch --objects FOLDER [--init WEIGHTS] [--steps N]

Plain regression on 32 px pictures, a few minutes: text encoder and sketch together, so that words first learn what they
look like. Writes a whole model in the diffusers layout to ``CACHE/sketch``, whose UNet is untrained, or that of
``--init``; the next step goes on from there with both frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from dreamcraft3d.priors.embedded import LATENT_CHANNELS, EmbeddedPrior
from dreamcraft3d.priors.latents import PatchLatents
from dreamcraft3d.priors.words import NORMAL_MAP, REFERENCE_VIEW, build_tokenizer
from dreamcraft3d.training.captions import CHANNEL_ORDERS
from dreamcraft3d.training.pictures import Pictures, TextBatch, ViewBatch
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption

PATCH = 8
THUMBNAIL = 32
TEXTS, VIEWS = 256, 384
DROP, CAMERA_TOLD = 0.1, 0.25
WARM_UP = 100


def _vocabulary(pictures: Pictures) -> list[str]:
    colours = [name for c in pictures.captions for order in range(len(CHANNEL_ORDERS)) for name in c.colours[order]]
    views = [REFERENCE_VIEW, "side back overhead", NORMAL_MAP, "a an and the of with"]
    return [c.original for c in pictures.captions] + colours + views


def new_prior(objects: Path, cache: Path, seed: int) -> EmbeddedPrior:
    """An untrained model: its latents fit to the pictures, its vocabulary the captions'."""
    torch.manual_seed(seed)
    train = Pictures(objects, cache, "train")
    latents = PatchLatents.fit(train.text_batch(800, np.random.default_rng(seed)).pictures, LATENT_CHANNELS, PATCH)
    return EmbeddedPrior(latents, build_tokenizer(_vocabulary(train)))


def of_text(prior: EmbeddedPrior, batch: TextBatch, told: float = 0.0) -> tuple[Tensor, Tensor]:
    """Expected and true components of pictures by their words; the first ``told`` is also told the camera."""
    truth = prior.latents.small_thumbnail(batch.pictures)
    steering = prior.steering(prior.encode_words(batch.prompts), batch.camera(told))
    return prior.sketch.foretell(steering, torch.zeros_like(truth)), prior.sketch.components(truth)


def of_views(prior: EmbeddedPrior, batch: ViewBatch, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The same of views by reference and camera, where ``kept`` (B,) is 1; where it is 0, by neither."""
    reference, truth = (prior.latents.small_thumbnail(x) for x in (batch.references, batch.targets))
    steering = prior.steering(prior.encode_words([""]).expand(len(truth), -1, -1), batch.camera(kept))
    return prior.sketch.foretell(steering, reference * kept[:, None, None, None]), prior.sketch.components(truth)


@torch.no_grad()
def validate(prior: EmbeddedPrior, val: Pictures, size: int = 1024) -> dict[str, float]:
    """PSNR (dB, of components) of sketches by the right and by other pictures' words and cameras."""
    rng = np.random.default_rng(0)
    text, views = val.text_batch(size, rng, drop=0.0), val.view_batch(size, rng)
    pixels = prior.sketch.basis.shape[0]

    def psnr(expected: Tensor, truth: Tensor) -> float:
        error = (expected - truth).square().sum(dim=1).mean() * prior.sketch.scale.square() / 4 / pixels
        return round(float(-10 * error.log10()), 2)

    other = rng.permutation(size)
    wrong_text = TextBatch(text.pictures, [text.prompts[i] for i in other], text.azimuth, text.elevation)
    wrong_views = ViewBatch(views.references, views.targets, views.azimuth[other], views.elevation[other])
    kept = torch.ones(size)
    return {
        "words": psnr(*of_text(prior, text)),
        "other words": psnr(*of_text(prior, wrong_text)),
        "views": psnr(*of_views(prior, views, kept)),
        "other cameras": psnr(*of_views(prior, wrong_views, kept)),
    }


def main(
    objects: ObjectsOption,
    cache: CacheOption = CACHE,
    init: Annotated[
        Path | None, typer.Option(help="Start from these weights (a folder in the diffusers layout).")
    ] = None,
    steps: int = 1200,
    lr: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train the text encoder and the sketch."""
    prior = EmbeddedPrior.load(init) if init else new_prior(objects, cache, seed)
    train, val = (Pictures(objects, cache, split, THUMBNAIL) for split in ("train", "val"))
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    if not init:
        prior.sketch.fit(prior.latents.small_thumbnail(train.text_batch(8000, rng).pictures))
    parameters = [*prior.text_encoder.parameters(), *prior.sketch.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.05, fused=True)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min((step + 1) / WARM_UP, 1.0, 2 * (1 - step / steps))
        kept = (torch.rand(VIEWS, generator=generator) >= DROP).float()
        texts, views = train.text_batch(TEXTS, rng, DROP), train.view_batch(VIEWS, rng)
        with torch.autocast("cpu", torch.bfloat16):
            pairs = of_text(prior, texts, CAMERA_TOLD), of_views(prior, views, kept)
            loss = torch.stack([(expected - truth).square().mean() for expected, truth in pairs]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % 200 == 0 or step + 1 == steps:
            typer.echo(f"{step + 1}: loss {loss.item():.3f}, {validate(prior, val)}")
    prior.save(cache / "sketch")


if __name__ == "__main__":
    typer.run(main)
