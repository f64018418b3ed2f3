"""Models in the diffusers folder layout: a folder for each part, checked before it is read."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from dreamcraft3d.errors import UserError

CONFIGS = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_AGAIN = "Download the model again, or name the folder that holds all of it."
_PLAIN = re.compile(r"[a-z_]+(-\d+-of-\d+)?")


def require_parts(folder: Path, *parts: str) -> None:
    """Check that a model's folder has these parts, each with its configuration and, if a network, its weights.

    Raises:
        UserError: naming every file that is missing.
    """
    if not folder.is_dir():
        raise UserError(f"There is no model folder {folder}.", "Download the model, or correct the path.")
    missing = [name for part in parts for name in _missing(folder / part)]
    if missing:
        raise UserError(f"The model folder {folder} is incomplete: it lacks {', '.join(missing)}.", _AGAIN)


def load_part(kind: Any, folder: Path, part: str, dtype: torch.dtype, **options: Any) -> Any:
    """One network of a model, frozen and on the CPU unless ``options`` say otherwise.

    Half-precision files (``*.fp16.safetensors``) are read where they are all there is, or where half precision is asked
    for. Nothing is fetched, and no code of the folder is run.

    Args:
        kind: a model class of diffusers or transformers.
        options: more arguments of its ``from_pretrained``.

    Raises:
        UserError: files are missing, damaged, or do not hold all of the network's weights.
    """
    require_parts(folder, part)
    path = folder / part
    precision = "dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype"
    try:
        network, report = kind.from_pretrained(
            path,
            variant=_variant(path, dtype),
            local_files_only=True,
            output_loading_info=True,
            **{precision: dtype},
            **options,
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError) as problem:
        raise UserError(f"The model's part {path} cannot be read: {problem}", _AGAIN) from problem
    if report["missing_keys"]:
        first = min(report["missing_keys"])
        raise UserError(f"The weights in {path} are incomplete: they lack {first}.", _AGAIN)
    return network.eval().requires_grad_(False)


def load_alphas_cumprod(kind: Any, folder: Path) -> torch.Tensor:
    """(T,) the cumulative products of alphas of a model that predicts noise.

    Args:
        kind: a scheduler class of diffusers.

    Raises:
        UserError: there is no schedule, or the model predicts something else.
    """
    require_parts(folder, "scheduler")
    try:
        scheduler = kind.from_pretrained(folder / "scheduler", local_files_only=True)
    except (OSError, ValueError) as problem:
        raise UserError(f"The schedule {folder / 'scheduler'} cannot be read: {problem}", _AGAIN) from problem
    if scheduler.config.prediction_type != "epsilon":
        raise UserError(
            f"The model in {folder} predicts {scheduler.config.prediction_type}, where one that predicts noise (epsilon)"
            " is needed.",
            "Name the folder of another model.",
        )
    products: torch.Tensor = scheduler.alphas_cumprod
    return products


def _weights(path: Path) -> list[Path]:
    return [file for file in sorted(path.glob("*")) if file.suffix in {".safetensors", ".bin"}]


def _missing(path: Path) -> list[str]:
    """Names of files that a part lacks."""
    config = CONFIGS.get(path.name, "config.json")
    missing = [] if (path / config).is_file() else [f"{path.name}/{config}"]
    if path.name == "tokenizer" and not any((path / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        missing.append("tokenizer/tokenizer.json (or spiece.model)")
    if path.name not in CONFIGS and not _weights(path):
        missing.append(f"{path.name}/*.safetensors")
    return missing


def _variant(path: Path, dtype: torch.dtype) -> str | None:
    half = any(".fp16" in file.name for file in _weights(path))
    plain = any(_PLAIN.fullmatch(file.stem) for file in _weights(path))
    return "fp16" if half and (dtype.itemsize == 2 or not plain) else None
