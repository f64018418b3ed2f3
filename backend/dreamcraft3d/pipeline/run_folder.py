"""A run on disk: what was asked for, each stage's result, and the checkpoint to go on from.

``out/mushroom.glb`` has its run in ``out/mushroom/``. Everything in it is written whole or not at all.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.export.formats import settle, write_atomically
from dreamcraft3d.pipeline.config import Preset, StageName

log = logging.getLogger(__name__)


class Request(BaseModel):
    """What a run was asked for.

    Attributes:
        output: the GLB's name; it lies beside the run's folder, wherever that is moved.
        prompt: words, as typed; empty where a picture says it all.
        negative: words for what it shall not be, or empty.
        image, mesh: copies inside the run's folder of what was given, or None.
        uv_texture, uv_mask: likewise, of pictures in the mesh's own UV map.
        start: the stage of an earlier run whose result this one starts from, or None.
        anew: whether the reference is made for this run, so that what it starts from has other colours.
        preset: its values, so that the run can be repeated whatever becomes of the preset.
        first, until: the first and last stage after the reference.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    prompt: str
    image: str | None
    mesh: str | None
    preset: Preset
    seed: int
    first: StageName
    until: StageName
    version: str
    negative: str = ""
    uv_texture: str | None = None
    uv_mask: str | None = None
    start: StageName | None = None
    anew: bool = True


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def request_file(self) -> Path:
        return self.path / "config.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def checkpoint_before(self) -> Path:
        """The one before the newest."""
        return self.path / "checkpoint-before.pt"

    @property
    def checkpoint_damaged(self) -> Path:
        """The last one that could not be read."""
        return self.path / "checkpoint-damaged.pt"

    @property
    def start(self) -> Path:
        """The result of an earlier run that this one starts from."""
        return self.path / "start.safetensors"

    def result(self, stage: str) -> Path:
        """Where a finished stage's result lies."""
        return self.path / f"{stage}.safetensors"

    def log(self, stage: str, title: str = "") -> Path:
        """Where TensorBoard's files of a stage are, which takes its names for them from the folders."""
        return self.path / "log" / title / stage

    @staticmethod
    def create(output: Path, copies: dict[str, Path | None]) -> tuple[RunFolder, dict[str, str | None]]:
        """Make the folder beside ``output`` and copy the given files into it; an older run there is kept aside.

        Raises:
            UserError: the folder cannot be written, or something that is no run has its name.
        """
        folder = output.with_suffix("")
        if folder.exists() and not RunFolder(folder).request_file.is_file():
            raise UserError(f"{folder} is there already, and is not a run.", "Choose another name with --output.")
        try:
            if folder.exists():
                number = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}-{n}").exists())
                aside = folder.with_name(f"{folder.name}-{number}")
                folder.rename(aside)
                if output.is_file():
                    output.rename(aside / output.name)
            folder.mkdir(parents=True)
            names: dict[str, str | None] = {}
            for role, source in copies.items():
                names[role] = None if source is None else f"{role}{source.suffix.lower()}"
                if source is not None:
                    shutil.copyfile(source, folder / str(names[role]))
        except OSError as error:
            raise UserError(
                f"The folder {folder} cannot be written: {error.strerror}.", "Choose another place with --output."
            ) from None
        return RunFolder(folder), names

    @staticmethod
    def open(path: Path) -> tuple[RunFolder, Request]:
        """An existing run, named by its folder or its GLB.

        Raises:
            UserError: there is no run there, or its config does not read as one.
        """
        folder = RunFolder(path.with_suffix("") if path.suffix.lower() == ".glb" else path)
        if not folder.request_file.is_file():
            raise UserError(
                f"There is no run in {folder.path}.", "Name the folder beside the GLB, such as out/mushroom."
            )
        try:
            return folder, Request.model_validate_json(folder.request_file.read_text(encoding="utf-8"))
        except (ValidationError, ValueError):
            raise UserError(f"{folder.request_file} was not written by this version.", "Start the run anew.") from None

    def start_from(self, result: Path, reference: Path | None, prompt: str) -> None:
        """Copy a stage's result here to start from, and perhaps the reference with its words. Raises OSError."""
        shutil.copyfile(result, self.start)
        if reference is not None:
            shutil.copyfile(reference, self.result("reference"))
            self.write_json("reference.json", {"prompt": prompt})

    def write_request(self, request: Request) -> None:
        write_atomically(self.request_file, request.model_dump_json(indent=2).encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run, empty if it is not there."""
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        write_atomically(self.path / name, json.dumps(value, indent=2).encode())

    def save_checkpoint(self, stage: str, step: int, state: dict[str, Any]) -> None:
        """Keep a stage's state before its step ``step``, and the checkpoint before it. Never are there more than two."""
        temporary = self.checkpoint.with_suffix(".tmp")
        if self.checkpoint.is_file():
            self.checkpoint_before.unlink(missing_ok=True)
        torch.save({"stage": stage, "step": step, "state": state}, temporary)
        if self.checkpoint.is_file():
            os.replace(self.checkpoint, self.checkpoint_before)
        settle(temporary, self.checkpoint)

    def load_checkpoint(self, stage: str, say: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest checkpoint that is whole and of this stage; ``say`` is told of one that is damaged."""
        damaged = False
        for path in (self.checkpoint, self.checkpoint_before):
            if not path.is_file():
                continue
            saved = _read_checkpoint(path)
            if saved is None:
                log.error("the checkpoint %s is damaged", path)
                os.replace(path, self.checkpoint_damaged)  # or it would come to stand for the one before the newest
                damaged = True
            elif saved["stage"] == stage:
                if damaged:
                    say("The newest checkpoint is damaged; going on from the one before it.")
                return saved["step"], saved["state"]
        if damaged:
            say("The checkpoint is damaged; the stage begins anew.")
        return None

    def drop_checkpoints(self) -> None:
        """Delete them: the stage is done, or has to begin anew."""
        for path in (self.checkpoint, self.checkpoint_before, self.checkpoint_damaged):
            path.unlink(missing_ok=True)

    def save_views(self, stage: str, pictures: Tensor) -> None:
        """Keep a stage's pictures (N, S, S, 3) for the contact sheet, as one strip."""
        strip = (torch.cat(list(pictures), dim=1).clamp(0, 1) * 255).round().byte().cpu().numpy()
        data = io.BytesIO()
        Image.fromarray(strip).save(data, "PNG")
        write_atomically(self.path / f"{stage}.png", data.getvalue())

    def load_views(self, stage: str) -> Tensor | None:
        """What :meth:`save_views` kept, or None."""
        path = self.path / f"{stage}.png"
        if not path.is_file():
            return None
        strip = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float() / 255
        return torch.stack(strip.split(strip.shape[0], dim=1))


def _read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What is in a checkpoint, or None if it is not as it was written."""
    try:
        with zipfile.ZipFile(path) as file:
            if file.testzip() is not None:
                return None
        saved: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError, zipfile.BadZipFile):
        return None
    return saved
