"""A job's result as one file in its folder, from which it is sent as often as a client asks for it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.files import write_private
from dreamcraft3d_protocol.messages import Result

FILE = "result.npz"
_UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile)


def write_result(folder: Path, metrics: dict[str, float], arrays: dict[str, Array]) -> None:
    """Keep what ``Result`` is going to say, whole or not at all. Raises OSError if it cannot be written."""
    data = io.BytesIO()
    note = np.frombuffer(json.dumps(metrics).encode(), np.uint8)
    np.savez(data, metrics=note, **arrays)
    write_private(folder / FILE, data.getvalue())


def read_result(folder: Path, job: str) -> Received | None:
    """The message, or None if the job has no result that can be read. Its arrays stay on the disk until they are sent."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            metrics = json.loads(file["metrics"].tobytes())
            if file.zip.testzip() is not None:
                return None
            return Result(job, metrics), _Stored(folder / FILE, tuple(n for n in file.files if n != "metrics"))
    except _UNREADABLE:
        return None


class _Stored(Mapping[str, Array]):
    """Arrays of a file, read whenever they are asked for: results of many jobs may wait for a client that is slow."""

    def __init__(self, file: Path, names: tuple[str, ...]) -> None:
        self._file, self._names = file, names

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        try:
            with np.load(self._file, allow_pickle=False) as file:
                return np.asarray(file[name])
        except _UNREADABLE:
            raise ProtocolError(f"{self._file} cannot be read any more.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
