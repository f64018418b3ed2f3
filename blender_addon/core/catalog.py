# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog in an asset library that our assets are listed under."""

from __future__ import annotations

import uuid
from pathlib import Path

FILE = "blender_assets.cats.txt"
NAME = "DreamCraft3D"
ID = str(uuid.uuid5(uuid.NAMESPACE_DNS, "dreamcraft3d.blender"))
_BEGINNING = "# This is an Asset Catalog Definition file for Blender.\n\nVERSION 1\n\n"


def ensure_catalog(library: Path) -> str:
    """The id of the catalog in a library's folder, which is written where it is missing.

    Raises:
        OSError: the file cannot be read or written.
    """
    file = library / FILE
    text = file.read_text(encoding="utf-8") if file.is_file() else _BEGINNING
    for line in text.splitlines():
        known, _, path = line.partition(":")
        if path.partition(":")[0] == NAME:
            return known
    ending = "" if text.endswith("\n") else "\n"
    unfinished = file.with_suffix(".part")
    unfinished.write_text(f"{text}{ending}{ID}:{NAME}:{NAME}\n", encoding="utf-8")
    unfinished.replace(file)
    return ID


def library_of(file: str, libraries: list[str]) -> Path | None:
    """The innermost of these folders that a file lies in; None if it lies in none, or is not saved."""
    if not file:
        return None
    folders = [Path(library).resolve() for library in libraries if library]
    holding = [folder for folder in folders if Path(file).resolve().is_relative_to(folder)]
    return max(holding, key=lambda folder: len(folder.parts), default=None)


def tags(words: str) -> list[str]:
    """The words of a prompt that one would look for: ``a red mushroom`` gives ``red`` and ``mushroom``."""
    plain = ("".join(letter for letter in word if letter.isalnum()) for word in words.lower().split())
    return list(dict.fromkeys(word for word in plain if len(word) > 1 and word not in _PASSED_OVER))


_PASSED_OVER = frozenset("a an the and with of in on at for from under over by to".split())
