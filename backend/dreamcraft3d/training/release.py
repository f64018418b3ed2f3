"""Step 6 of training: put the averaged weights of the diffusion model into the package, in half precision.

python -m dreamcraft3d.training.release [--cache FOLDER]
"""

from __future__ import annotations

import typer

from dreamcraft3d.priors.embedded import WEIGHTS, EmbeddedPrior
from dreamcraft3d.training.views import CACHE, CacheOption


def main(cache: CacheOption = CACHE) -> None:
    """Copy the newest averaged weights into ``priors/embedded_weights``."""
    prior = EmbeddedPrior.load(cache / "prior")
    prior.text_encoder.half()
    for part in (prior.unet, prior.sketch):
        part.half()
        part.register_to_config(_name_or_path="")  # where it was trained is nobody's business
    prior.save(WEIGHTS)
    size = sum(f.stat().st_size for f in WEIGHTS.rglob("*") if f.is_file())
    typer.echo(f"{WEIGHTS}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    typer.run(main)
