"""What this machine has: the checks behind ``dreamcraft3d doctor``."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MINIMUM_FREE = 2 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``good`` is False where something must be mended."""

    good: bool
    text: str


def report() -> Iterator[Finding]:
    """Look at the interpreter's packages, the device, the kernels, the weights and the disk."""
    import torch
    import warp

    yield Finding(True, f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
        yield Finding(True, f"GPU: {name}, {memory / 2**30:.0f} GiB")
    else:
        yield Finding(True, "No CUDA GPU: the embedded and draft presets run on the processor.")
    yield _kernels(warp.config.version)
    for module, use in (("nvdiffrast", "rasterizer"), ("tinycudann", "hash grid")):
        found = importlib.util.find_spec(module) is not None
        yield Finding(True, f"{module} ({use}, optional): {'found' if found else 'not installed'}")
    logged = importlib.util.find_spec("tensorboard") is not None
    curves = "losses are logged" if logged else "not installed, so losses are not logged: pip install tensorboard"
    yield Finding(True, f"tensorboard (curves of losses, optional): {curves}")
    yield _weights()
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding(free > MINIMUM_FREE, f"{free / 2**30:.0f} GiB free in {Path.cwd()}")


def _kernels(version: str) -> Finding:
    import torch

    from dreamcraft3d.kernels.rasterize import rasterize_ids

    clip = torch.tensor([[[-1.0, -1, 0, 1], [3, -1, 0, 1], [-1, 3, 0, 1]]])
    ids, _ = rasterize_ids(clip, torch.tensor([[0, 1, 2]]), 4, 4)
    works = bool((ids == 0).all())
    return Finding(works, f"Warp {version}: kernels {'work' if works else 'give wrong results; reinstall warp-lang'}")


def _weights() -> Finding:
    from dreamcraft3d.priors.embedded import WEIGHTS, EmbeddedPrior

    try:
        prior = EmbeddedPrior.load()
    except (OSError, ValueError) as error:
        return Finding(False, f"The embedded weights in {WEIGHTS} cannot be read ({error}); reinstall dreamcraft3d.")
    millions = sum(p.numel() for p in prior.parameters()) / 1e6
    return Finding(True, f"embedded priors: {millions:.1f} M parameters, {len(prior.tokenizer)} words")
