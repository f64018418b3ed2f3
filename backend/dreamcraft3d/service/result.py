"""A job's result as one file in its folder, from which it is sent as often as a client asks for it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.files import write_private
from dreamcraft3d_protocol.messages import Result

FILE = "result.npz"


def write_result(folder: Path, metrics: dict[str, float], arrays: dict[str, Array]) -> None:
    """Keep what ``Result`` is going to say, whole or not at all. Raises OSError if it cannot be written."""
    data = io.BytesIO()
    note = np.frombuffer(json.dumps(metrics).encode(), np.uint8)
    np.savez(data, metrics=note, **arrays)
    write_private(folder / FILE, data.getvalue())


def read_result(folder: Path, job: str) -> Received | None:
    """The message, or None if the job has no result that can be read."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return Result(job, json.loads(arrays.pop("metrics").tobytes())), arrays
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
