"""Which priors a run has: the embedded ones, or full-size models from where they lie on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.folder import installed_folder, model_folder, read_lock
from dreamcraft3d.pipeline.config import PriorSettings
from dreamcraft3d.priors.base import Priors
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.embedded_priors import EmbeddedPriors
from dreamcraft3d.priors.memory import NO_MEANS, Means
from dreamcraft3d.priors.zero123 import Zero123Kind
from dreamcraft3d.priors.zero123_checkpoint import convert_checkpoint

KINDS = {
    "zero123-xl": Zero123Kind.XL,
    "stable-zero123": Zero123Kind.STABLE,
    "stable-zero123-diffusers": Zero123Kind.STABLE,
}


def run_priors(settings: PriorSettings, device: torch.device, means: Means = NO_MEANS, negative: str = "") -> Priors:
    """The priors that a preset names, made to fit by the means given, led away from negative words if there are any.

    Raises:
        UserError: a model is not on this machine, or cannot be what it is named for; or the words are not known.
    """
    if not settings.full:
        embedded = EmbeddedPriors(EmbeddedPrior.load(device=device).requires_grad_(False), means)
        return replace(embedded, negative=embedded.check_prompt(negative)) if negative else embedded
    if settings.view not in KINDS:
        raise UserError(f"{settings.view} is no Zero-1-to-3 model.", f"The 3D prior can be one of: {', '.join(KINDS)}.")
    # It brings diffusers' pipelines, which take seconds to come.
    from dreamcraft3d.pipeline.full_priors import FullPriors

    return FullPriors(
        flat=installed_folder(settings.flat),
        view=_view_folder(settings.view),
        texture=installed_folder(settings.texture),
        picture=installed_folder(settings.picture),
        kind=KINDS[settings.view],
        device=device,
        perp_neg=settings.perp_neg,
        means=means,
        negative=negative,
    )


def _view_folder(name: str) -> Path:
    """Where a Zero-1-to-3 model lies in diffusers' layout; one that is a single checkpoint is converted once."""
    folder = installed_folder(name)
    checkpoint = next(folder.glob("*.ckpt"), None)
    if checkpoint is None:
        return folder
    lock = read_lock(name)
    known = lock.files.get(checkpoint.name) if lock else None
    if known is None or known.sha256 is None:
        raise UserError(
            f"Nobody has said what {checkpoint} should hold, so it is not opened.",
            f"Get it by `dreamcraft3d models download {name}`, which keeps its checksum.",
        )
    converted = model_folder(f"{name}-converted")
    convert_checkpoint(checkpoint, converted, KINDS[name], known.sha256)
    return converted
