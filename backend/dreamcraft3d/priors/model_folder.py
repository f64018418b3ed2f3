"""A model's folder as hubs lay it out: whether it is whole, and the pipeline in it, loaded from there and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from dreamcraft3d.errors import UserError

NEVER_USED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that are neither needed nor loaded."""


def pipeline_class(folder: Path) -> str:
    """The name of the pipeline class that a folder is for; empty for a single model."""
    return str(_index(folder).get("_class_name", ""))


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that lacks a part of its model, before any of it is read.

    Raises:
        UserError: the folder, or a part of the model in it, is missing; it names which.
    """
    if not folder.is_dir():
        raise UserError(f"There is no model folder {folder}.", "Download the model, or check the path.")
    parts = {name: kind[1] for name, kind in _index(folder).items() if isinstance(kind, list) and kind[1] is not None}
    for name in NEVER_USED:
        parts.pop(name, None)
    for name, kind in (parts or {"": "Model"}).items():
        missing = _missing(folder / name, kind)
        if missing:
            where = f'The part "{name}" of the model' if name else "The model"
            raise UserError(f"{where} in {folder} has no {missing}.", "Download the model again.")


def load_pipeline(kind: type[DiffusionPipeline], folder: Path, device: torch.device | str, dtype: torch.dtype) -> Any:
    """A diffusers pipeline of ``kind`` (or of the kind the folder names), without its safety checker and progress bars.

    Only the folder is read, never a hub, and only safetensors, never a pickle. Weights are taken in half precision
    (``*.fp16.safetensors``) where there are no others.

    Raises:
        UserError: something is missing or broken.
    """
    check_model_folder(folder)
    index = _index(folder)
    unused: dict[str, Any] = {name: None for name in NEVER_USED if name in index}
    if "requires_safety_checker" in index:
        unused["requires_safety_checker"] = False
    try:
        pipeline: Any = kind.from_pretrained(
            folder,
            torch_dtype=dtype,
            variant=_variant(folder),
            use_safetensors=True,
            local_files_only=True,
            **unused,
        )
    except (OSError, SafetensorError) as error:
        raise broken(folder, error) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def broken(folder: Path, error: Exception) -> UserError:
    """The sentence for a model that is there but cannot be read."""
    return UserError(f"The model in {folder} cannot be read ({error}).", "Download it again.")


def _variant(folder: Path) -> str | None:
    """``fp16`` where a part has weights in that precision only."""
    parts = [sorted(part.glob("*.safetensors")) for part in folder.iterdir() if part.name not in NEVER_USED]
    return "fp16" if any(part and all(".fp16" in path.name for path in part) for part in parts) else None


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _missing(part: Path, kind: str) -> str:
    """What a part of the given class lacks; empty if nothing."""
    if "Scheduler" in kind:
        needed = ["scheduler_config.json"]
    elif "Tokenizer" in kind:
        needed = ["tokenizer_config.json"]
    elif "Processor" in kind or "Extractor" in kind:
        needed = ["preprocessor_config.json"]
    else:
        needed = ["config.json", "*.safetensors"]
    return next((pattern for pattern in needed if not any(part.glob(pattern))), "")
