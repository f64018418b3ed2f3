# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend on another machine: where it is, whether what the artist gave can be that, and the add-on's own key for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from dreamcraft3d_protocol.client import Target
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyFolder, KeyPair, is_key

ENDPOINT = re.compile(r"tcp://(?P<host>[^\s/:*]+):(?P<port>\d{1,5})")
MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True)
class Remote:
    """As the preferences name it.

    Attributes:
        endpoint: ``tcp://HOST:PORT``.
        server_key: its public key, Z85.
        online: whether Blender may use the network.
    """

    endpoint: str
    server_key: str
    online: bool = True

    @property
    def host(self) -> str:
        """For the artist; empty where the endpoint is none."""
        found = ENDPOINT.fullmatch(self.endpoint)
        return found["host"] if found else ""

    @property
    def loopback(self) -> bool:
        """Whether it is this machine after all, by a tunnel for instance."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def offline(self) -> bool:
        """Whether Blender forbids a connection there."""
        return bool(self.host) and not (self.online or self.loopback)

    @property
    def complete(self) -> bool:
        """Whether address and key can be those of a backend."""
        return bool(self.host) and is_key(self.server_key.encode())

    def check(self) -> None:
        """Raises ProtocolError, a sentence that says what to mend in the preferences."""
        if not self.endpoint:
            raise ProtocolError("There is no address yet. Type it in the preferences: tcp://HOST:PORT.")
        if not self.host:
            raise ProtocolError(f"{self.endpoint[:60]!r} is no address; it looks like tcp://HOST:PORT.")
        if not is_key(self.server_key.encode()):
            raise ProtocolError(
                "The backend's public key is missing or not whole. It is shown there by: dreamcraft3d keys show"
            )
        if self.offline:
            raise ProtocolError("Blender may not go online. Allow Online Access in Preferences, System, Network.")

    def target(self, keys: KeyFolder) -> Target:
        """For a client; it raises as :meth:`check` and :func:`own_pair`."""

        def find() -> tuple[str, bytes, KeyPair]:
            self.check()
            return self.endpoint, self.server_key.encode(), own_pair(keys)

        return find


def own_pair(keys: KeyFolder) -> KeyPair:
    """The add-on's pair for backends elsewhere, made the first time.

    Raises:
        ProtocolError: it cannot be read or made.
    """
    try:
        return keys.pair("addon")
    except OSError as error:
        raise ProtocolError(f"The add-on's key cannot be kept in {keys.path}: {error.strerror}.") from None


def read_key_file(path: Path) -> tuple[str, str]:
    """Endpoint, perhaps empty, and public key of a file that ``dreamcraft3d keys show --output`` wrote, or a key alone.

    Raises:
        ProtocolError: it is something else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ProtocolError(f"{path} cannot be read as a key.") from None
    if is_key(text.encode()):
        return "", text
    try:
        values = json.loads(text)
        endpoint, key = str(values.get("endpoint", "")), str(values["server_public_key"])
    except (ValueError, KeyError, AttributeError):
        endpoint, key = "", ""
    if not is_key(key.encode()):
        raise ProtocolError(
            f"There is no public key in {path.name}. Make it there: dreamcraft3d keys show --output FILE"
        )
    return endpoint, key
