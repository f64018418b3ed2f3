"""Step 3 of training: the diffusion model shared by the 2D and the 3D prior.

    python -m dreamcraft3d.training.prior --objects FOLDER [--init WEIGHTS] [--steps N]

Only the UNet is trained; words and sketch are those of ``--init``, as ``training/sketch.py`` leaves them. Half of each
batch is text to picture (words, no camera), half is view to view (reference picture and camera, no words). Checkpoints, a
log (``prior.jsonl``) and pictures of samples go to the cache; stopped, it goes on where it was. It ends by itself when
neither validation loss has improved for ``--patience`` evaluations. Several processes share the batch when started by
``torchrun --nproc-per-node N -m dreamcraft3d.training.prior``.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers.models.attention_processor import AttnProcessor
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.training.pictures import Pictures, TextBatch, ViewBatch
from dreamcraft3d.training.samples import sample_rows
from dreamcraft3d.training.sketch import CAMERA_TOLD, DROP
from dreamcraft3d.training.team import Team
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption

BATCH = 32
WARM_UP = 200
COOL_DOWN = 0.3
"""The learning rate falls to nothing over this share of the steps, at the end."""


@dataclass(frozen=True)
class Examples:
    """What the model is shown: arguments of ``EmbeddedPrior.denoising_loss``, B of each."""

    clean: Tensor
    words: Tensor
    camera: Tensor
    reference: Tensor

    @staticmethod
    @torch.no_grad()
    def of_text(prior: EmbeddedPrior, batch: TextBatch, told: float = 0.0) -> Examples:
        """The 2D use: words, no camera, no reference. The first ``told`` of the batch is also told the camera: from
        there DreamBooth and LoRA set out, which know both."""
        clean = prior.latents.encode(batch.pictures)
        return Examples(clean, prior.encode_words(batch.prompts), batch.camera(told), torch.zeros_like(clean))

    @staticmethod
    @torch.no_grad()
    def of_views(prior: EmbeddedPrior, batch: ViewBatch, drop: float, generator: torch.Generator) -> Examples:
        """The 3D use: reference and camera, no words; a share ``drop`` sees neither."""
        clean, reference = prior.latents.encode(batch.targets), prior.latents.encode(batch.references)
        kept = (torch.rand(len(clean), generator=generator) >= drop).float()
        reference = reference * kept[:, None, None, None]
        return Examples(clean, prior.encode_words([""]).expand(len(clean), -1, -1), batch.camera(kept), reference)

    def and_(self, other: Examples) -> Examples:
        """Both in one batch."""
        mine, others = (vars(x).values() for x in (self, other))
        return Examples(*(torch.cat(pair) for pair in zip(mine, others, strict=True)))

    def loss(self, prior: EmbeddedPrior, generator: torch.Generator) -> Tensor:
        """Denoising loss, a scalar."""
        return prior.denoising_loss(self.clean, self.words, self.camera, generator, self.reference)


@torch.no_grad()
def validate(prior: EmbeddedPrior, pictures: Pictures, batches: int = 6) -> tuple[float, float]:
    """Mean view and text losses on the same validation batches and noise every time."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    view, text = [], []
    for _ in range(batches):
        views = Examples.of_views(prior, pictures.view_batch(BATCH, rng), 0.0, generator)
        view.append(views.loss(prior, generator).item())
        texts = Examples.of_text(prior, pictures.text_batch(BATCH, rng, drop=0.0))
        text.append(texts.loss(prior, generator).item())
    return float(np.mean(view)), float(np.mean(text))


def half_precision() -> torch.autocast:
    """Products in bfloat16, sums and weights in single precision: 1.7 times as many steps on a CPU that has it."""
    return torch.autocast("cpu", torch.bfloat16)


def main(
    objects: ObjectsOption,
    cache: CacheOption = CACHE,
    init: Annotated[
        Path | None, typer.Option(help="Start from these weights (a folder in the diffusers layout), not the sketch's.")
    ] = None,
    steps: Annotated[
        int, typer.Option(help="In all; the last three in ten bring the learning rate to nothing.")
    ] = 40_000,
    lr: float = 8e-4,
    every: Annotated[int, typer.Option(help="Steps between evaluations.")] = 1000,
    patience: int = 8,
    seed: int = 0,
) -> None:
    """Train the embedded diffusion model."""
    team = Team()
    train, val = Pictures(objects, cache, "train"), Pictures(objects, cache, "val")
    torch.manual_seed(seed)
    prior = EmbeddedPrior.load(init or cache / "sketch").requires_grad_(False)
    prior.unet.requires_grad_(True)
    prior.unet.set_attn_processor(AttnProcessor())  # torch's fused attention in bfloat16 took half of a CPU's step
    prior.unet.to(memory_format=torch.channels_last)  # with the next line, a quarter less time a step
    prior.unet.compile()
    parameters = list(prior.unet.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = EMAModel(parameters, decay=0.9995, use_ema_warmup=True, power=0.75)
    checkpoint, step, best, stale = cache / "prior.pt", 0, [float("inf")] * 2, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        prior.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        step, best = state["step"], state["best"]
    rng = np.random.default_rng([seed, step, team.rank])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    share = BATCH // 2 // team.size
    started, running = time.time(), []
    while step < steps and stale < patience:
        optimizer.param_groups[0]["lr"] = lr * min((step + 1) / WARM_UP, 1.0, (1 - step / steps) / COOL_DOWN)
        views = Examples.of_views(prior, train.view_batch(share, rng), DROP, generator)
        texts = Examples.of_text(prior, train.text_batch(share, rng), CAMERA_TOLD)
        with half_precision():
            loss = views.and_(texts).loss(prior, generator)
        optimizer.zero_grad()
        loss.backward()
        team.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.step(parameters)
        running.append(loss.item())
        step += 1
        if step % every and step < steps:
            continue
        if team.rank == 0:
            average.store(parameters)
            average.copy_to(parameters)
            prior.save(cache / "prior")
            with half_precision(), torch.compiler.set_stance("force_eager"):
                view, text = validate(prior, val)
                contact_sheet(sample_rows(prior, val), cache / "samples" / f"{step:06}.png")
            average.restore(parameters)
            stale = 0 if view < best[0] or text < best[1] else stale + 1
            best = [min(best[0], view), min(best[1], text)]
            record = {"step": step, "train": float(np.mean(running)), "view": view, "text": text}
            record |= {"seconds": round(time.time() - started, 1)}
            with (cache / "prior.jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            state = {"model": prior.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
            torch.save(state | {"step": step, "best": best}, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
        running = []
        stale = team.agree(stale)


if __name__ == "__main__":
    typer.run(main)
