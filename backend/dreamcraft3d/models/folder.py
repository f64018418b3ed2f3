"""Where models lie, and whether they lie there whole: the folder, its lock files, and checking one against the other."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

import platformdirs
from pydantic import BaseModel, ValidationError

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.catalogue import Model, find_model

LOCK = "dreamcraft3d.lock.json"


class LockedFile(BaseModel):
    """What is known of a file: its bytes, and its SHA-256, which the hub keeps of large files only."""

    size: int | None = None
    sha256: str | None = None


class Lock(BaseModel):
    """What was downloaded: from which repository, at which commit, which files."""

    repository: str
    commit: str
    files: dict[str, LockedFile]


@dataclass(frozen=True)
class Verdict:
    """Of one file, or of a whole folder where ``file`` is empty."""

    file: str
    state: Literal["good", "not checked", "missing", "wrong size", "wrong checksum"]

    @property
    def good(self) -> bool:
        """Whether the file can be used, as far as is known."""
        return self.state in ("good", "not checked")


def models_folder() -> Path:
    """``DREAMCRAFT3D_MODELS``, or else ``models`` in the platform's place for a user's application data."""
    given = os.environ.get("DREAMCRAFT3D_MODELS")
    return Path(given) if given else Path(platformdirs.user_data_dir("dreamcraft3d", appauthor=False)) / "models"


def model_folder(name: str) -> Path:
    """Where a model lies, or would lie."""
    return models_folder() / name


def wanted(model: Model, file: str) -> bool:
    """Whether a file of the model's repository is among those needed; none that would lie outside its folder is."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts:
        return False
    return any(fnmatch(file, pattern) for pattern in model.files)


def is_present(model: Model) -> bool:
    """Whether the model was downloaded, or any of its files was copied to its folder by hand."""
    return read_lock(model.name) is not None or bool(_files(model))


def installed_folder(name: str) -> Path:
    """The folder of a model that is there.

    Raises:
        UserError: there is no such model, or it is not there.
    """
    model = find_model(name)
    folder = model_folder(name)
    if not is_present(model):
        hint = f"Get it by `dreamcraft3d models download {name}`, or copy its files to {folder}."
        raise UserError(f"The model {name} is not on this machine.", hint)
    return folder


def read_lock(name: str) -> Lock | None:
    """The model's lock, or None where the files came by hand.

    Raises:
        UserError: it cannot be read.
    """
    path = model_folder(name) / LOCK
    if not path.is_file():
        return None
    try:
        return Lock.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        raise UserError(f"{path} cannot be read.", f"Delete it, then `dreamcraft3d models download {name}`.") from None


def write_lock(name: str, lock: Lock) -> None:
    """Keep what was downloaded beside it."""
    path = model_folder(name) / LOCK
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(lock.model_dump(), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def check(model: Model) -> list[Verdict]:
    """Compare the model's files with its lock: there, of the right size, of the right SHA-256.

    Files without a lock are "not checked", unless the catalogue knows their checksum.
    """
    lock = read_lock(model.name)
    files = lock.files if lock else dict.fromkeys(_files(model), LockedFile())
    return check_files(model, files) or [Verdict("", "missing")]


def check_files(model: Model, files: dict[str, LockedFile]) -> list[Verdict]:
    """Compare the model's files with what is known of them; a checksum in the catalogue goes before the hub's."""
    folder = model_folder(model.name)
    published = {
        file: known.model_copy(update={"sha256": model.sha256.get(file, known.sha256)}) for file, known in files.items()
    }
    return [Verdict(file, _state(folder / file, known)) for file, known in sorted(published.items())]


def _state(path: Path, known: LockedFile) -> Literal["good", "not checked", "missing", "wrong size", "wrong checksum"]:
    if not path.is_file():
        return "missing"
    if known.size is not None and path.stat().st_size != known.size:
        return "wrong size"
    if known.sha256 is None:
        return "not checked" if known.size is None else "good"
    return "good" if sha256_of(path) == known.sha256 else "wrong checksum"


def sha256_of(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(model: Model) -> list[str]:
    folder = model_folder(model.name)
    there = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts)
    return sorted(file for file in there if wanted(model, file))
