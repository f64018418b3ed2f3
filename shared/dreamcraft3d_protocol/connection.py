"""Where a running backend says how to reach it: ``connection.json`` in its data folder."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.files import private_folder, write_private
from dreamcraft3d_protocol.keys import KeyFolder

FILE = "connection.json"


def default_data_folder() -> Path:
    """``DREAMCRAFT3D_DATA``, or else the platform's place for a user's application data."""
    given = os.environ.get("DREAMCRAFT3D_DATA")
    return Path(given) if given else Path(platformdirs.user_data_dir("dreamcraft3d", appauthor=False))


def keys_of(data: Path) -> KeyFolder:
    """The keys of a data folder."""
    return KeyFolder(data / "keys")


@dataclass(frozen=True)
class Connection:
    """A running backend.

    Attributes:
        endpoint: ``tcp://127.0.0.1:PORT``.
        server_public_key: Z85.
        pid: its process.
        major, minor: of the protocol.
        version: the backend's own.
    """

    endpoint: str
    server_public_key: str
    pid: int
    major: int
    minor: int
    version: str

    def publish(self, data: Path) -> None:
        """Write the file into a data folder. Raises OSError if it cannot be written."""
        write_private(private_folder(data) / FILE, json.dumps(dataclasses.asdict(self), indent=2).encode())

    @staticmethod
    def withdraw(data: Path) -> None:
        """Remove the file, if it is there."""
        (data / FILE).unlink(missing_ok=True)

    @staticmethod
    def read(data: Path) -> Connection | None:
        """The backend that uses a data folder, or None if none has published itself.

        Raises:
            ProtocolError: there is a file, and it does not read as one.
        """
        path = data / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            values = None
        types = {"endpoint": str, "server_public_key": str, "pid": int, "major": int, "minor": int, "version": str}
        if not isinstance(values, dict) or any(not isinstance(values.get(n), t) for n, t in types.items()):
            raise ProtocolError(f"{path} does not read as a connection; stop the backend and start it again.")
        return Connection(**{name: values[name] for name in types})
