"""Small files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter; one that is there is left as it is. Returns it."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 by way of a temporary one beside it.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut leaves an empty file of that name
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
