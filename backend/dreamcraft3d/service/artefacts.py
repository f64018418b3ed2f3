"""Given pictures and meshes, and results to go on from, kept under the hash of what is in them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.files import private_folder, write_private


class Artefacts:
    """Files named ``ab/abcdef...`` by SHA-256: the same thing given twice is kept once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def keep(self, content: bytes) -> str:
        """Keep the bytes of a file; returns their name. Raises OSError if they cannot be written."""
        name = hashlib.sha256(content).hexdigest()
        if not self.path(name).is_file():
            private_folder(self.path(name).parent)
            write_private(self.path(name), content)
        return name

    def keep_mesh(self, arrays: dict[str, Array]) -> str:
        """Keep ``vertices``, ``faces`` and what else describes the mesh as one NPZ; returns its name. Raises OSError."""
        data = io.BytesIO()
        np.savez(data, **{name: arrays[name] for name in sorted(arrays)})
        return self.keep(data.getvalue())

    def sweep(self, wanted: Collection[str]) -> None:
        """Delete all but those."""
        for file in self.folder.glob("*/*"):
            if file.name not in wanted:
                file.unlink(missing_ok=True)
