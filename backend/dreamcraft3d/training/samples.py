"""What a diffusion model in training draws: a contact sheet of prompts, and of validation objects from around.

python -m dreamcraft3d.training.samples --objects FOLDER [--weights FOLDER] [--output PNG]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from dreamcraft3d.export.sheet import contact_sheet
from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.priors.base import Drawing
from dreamcraft3d.priors.embedded import WEIGHTS, EmbeddedPrior, ReferenceGuidance
from dreamcraft3d.priors.embedded_drawing import draw_pictures
from dreamcraft3d.priors.sampling import restore
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.training.pictures import Pictures
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption

PROMPTS = (
    "a red mushroom",
    "a brown chair",
    "a green tree",
    "a blue car",
    "a golden crown",
    "a small house",
    "a sword",
    "a purple potion",
)
COLUMNS = 8
STEPS, VIEW_SCALE = 15, 3.0


def sample_rows(prior: EmbeddedPrior, val: Pictures, objects: int = 6, seed: int = 0) -> list[tuple[str, Tensor]]:
    """Eight pictures of each of eight prompts; then each of some validation fronts, and what lies around it."""
    generator = torch.Generator().manual_seed(seed)
    settings = load_preset("embedded").reference
    wish = Drawing(COLUMNS, settings.guidance_scale, settings.start, settings.steps)
    rows = [(prompt, draw_pictures(prior, prompt, wish, generator)) for prompt in PROMPTS]
    around = Cameras.at([45.0 * i for i in range(1, COLUMNS)], [20.0] * (COLUMNS - 1))
    for index in torch.linspace(0, len(val.objects) - 1, objects).long().tolist():
        front = torch.tensor(val.rgb[index, :1]).float() / 255
        guidance = ReferenceGuidance(prior, front, VIEW_SCALE)
        noise = torch.randn((1, *guidance.reference.shape[1:]), generator=generator).expand(len(around), -1, -1, -1)
        views = prior.latents.decode(restore(guidance, noise, around, steps=STEPS)).clamp(0, 1)
        rows.append((val.objects.captions[index], torch.cat([front, views])))
    return rows


def main(
    objects: ObjectsOption,
    weights: Annotated[Path, typer.Option(help="A folder in the diffusers layout.")] = WEIGHTS,
    output: Path = Path("out/samples.png"),
    cache: CacheOption = CACHE,
) -> None:
    """Draw the sheet for saved weights."""
    contact_sheet(sample_rows(EmbeddedPrior.load(weights), Pictures(objects, cache, "val")), output)


if __name__ == "__main__":
    typer.run(main)
