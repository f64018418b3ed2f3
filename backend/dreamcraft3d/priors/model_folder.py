"""A model's folder as hubs lay it out: whether it is whole, and what is in it, loaded from there and nowhere else.

A pipeline's folder has a folder for each part; a single model's files lie in the folder itself. Weights are read from
safetensors alone, never from a pickle, and no code of a folder is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from transformers import PreTrainedModel

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.memory import ran_out_of_memory

NEVER_USED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that are neither needed nor loaded."""

_AGAIN = "Download the model again, or name the folder that holds all of it."
_CONFIGS = {"scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}
_VOCABULARIES = ("tokenizer.json", "spiece.model", "vocab.json", "vocab.txt")
_PLAIN = re.compile(r"[a-z_]+(-\d+-of-\d+)?")


def pipeline_class(folder: Path) -> str:
    """The name of the pipeline class that a folder is for; empty for a single model."""
    return str(_index(folder).get("_class_name", ""))


def require_parts(folder: Path, *parts: str) -> None:
    """Check, before anything is read, that a folder has these parts of a model, each with what it needs.

    Args:
        parts: such as "unet"; none are all that the pipeline's index names, or the single model that lies there.

    Raises:
        UserError: naming every file that is missing.
    """
    if not folder.is_dir():
        raise UserError(f"There is no model folder {folder}.", "Download the model, or correct the path.")
    missing = [name for part in parts or _parts(folder) or ("",) for name in _missing(folder, part)]
    if missing:
        raise UserError(f"The model folder {folder} is incomplete: it lacks {', '.join(missing)}.", _AGAIN)


def load_pipeline(kind: type[DiffusionPipeline], folder: Path, dtype: torch.dtype) -> Any:
    """A diffusers pipeline of ``kind`` (or of the kind the folder names), on the CPU, without safety checker and bars.

    Raises:
        UserError: something is missing or broken.
    """
    require_parts(folder)
    index = _index(folder)
    unused: dict[str, Any] = {name: None for name in NEVER_USED if name in index}
    if "requires_safety_checker" in index:
        unused["requires_safety_checker"] = False
    try:
        pipeline: Any = kind.from_pretrained(
            folder,
            torch_dtype=dtype,
            variant=_variant((folder / part for part in _parts(folder)), dtype),
            use_safetensors=True,
            local_files_only=True,
            **unused,
        )
    except (OSError, SafetensorError) as error:
        raise broken(folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_part(kind: Any, folder: Path, part: str, dtype: torch.dtype, **options: Any) -> Any:
    """One network of a model, frozen and on the CPU unless ``options`` say otherwise.

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
            variant=_variant([path], dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **{precision: dtype},
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if ran_out_of_memory(error):
            raise
        raise broken(path, error) from error
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
    except (OSError, ValueError) as error:
        raise broken(folder / "scheduler", error) from error
    if scheduler.config.prediction_type != "epsilon":
        raise UserError(
            f"The model in {folder} predicts {scheduler.config.prediction_type}, where one that predicts noise (epsilon)"
            " is needed.",
            "Name the folder of another model.",
        )
    products: torch.Tensor = scheduler.alphas_cumprod
    return products


def broken(path: Path, error: Exception) -> UserError:
    """The sentence for a model, or a part of one, that is there but cannot be read."""
    return UserError(f"The model in {path} cannot be read: {error}", _AGAIN)


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _parts(folder: Path) -> list[str]:
    """The parts that a pipeline's index names, less those never used."""
    named = {part: kind for part, kind in _index(folder).items() if isinstance(kind, list) and kind[1] is not None}
    return [part for part in named if part not in NEVER_USED]


def _missing(folder: Path, part: str) -> list[str]:
    """Names of files that a part lacks."""
    kind, path = re.sub(r"_\d+$", "", part), folder / part
    needed = [[_CONFIGS.get(kind, "config.json")]]
    if kind == "tokenizer":
        needed.append(list(_VOCABULARIES))
    elif kind not in _CONFIGS:
        needed.append(["*.safetensors"])
    lacking = [names for names in needed if not any(any(path.glob(name)) for name in names)]
    return [
        (Path(part) / names[0]).as_posix() + (f" (or {' or '.join(names[1:])})" * bool(names[1:])) for names in lacking
    ]


def _variant(parts: Iterable[Path], dtype: torch.dtype) -> str | None:
    """``fp16`` where half precision is asked for and all parts have it, or where one has nothing else; None is plain."""
    weights = [sorted(part.glob("*.safetensors")) for part in parts]
    half = [any(".fp16" in file.name for file in files) for files in weights if files]
    plain = [any(_PLAIN.fullmatch(file.stem) for file in files) for files in weights if files]
    return "fp16" if not all(plain) or (dtype.itemsize == 2 and all(half)) else None
