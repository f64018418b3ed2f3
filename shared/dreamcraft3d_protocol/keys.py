"""CURVE keys on disk: the backend's pair, the local client's pair, and the public keys of clients that may connect.

``keys/`` in the data folder (mode 0700) holds ``server.key``, ``server.key_secret``, ``client.key``,
``client.key_secret`` and ``clients/NAME.key``, all in the certificate format of ``zmq.auth`` and with mode 0600.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import zmq.auth
from zmq.utils import z85

from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.files import private_folder, write_private

LOCAL = "local"
"""Under which the clients of the backend's own machine are enrolled."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class KeyPair:
    """Both halves in Z85, 40 characters each; the secret one is not shown by ``repr``."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class KeyFolder:
    """The keys of one data folder."""

    path: Path

    def server_pair(self) -> KeyPair:
        """The backend's pair, made the first time. Raises as :func:`read_pair`."""
        return self.pair("server")

    def client_pair(self) -> KeyPair:
        """The pair of clients on this machine, made and enrolled the first time. Raises as :func:`read_pair`."""
        pair = self.pair("client")
        self.enrol(pair.public, LOCAL)
        return pair

    def enrol(self, public_key: bytes, name: str) -> None:
        """Let a client connect, from now on.

        Args:
            public_key: its public key in Z85.
            name: what to call it: letters, digits, ``-`` and ``_``.

        Raises:
            ProtocolError: that is no key, or no name.
        """
        if not _NAME.fullmatch(name):
            raise ProtocolError(f"A client cannot be called {name[:80]!r}; use letters, digits, - and _.")
        if not is_key(public_key):
            raise ProtocolError("A public key has 40 characters in Z85; copy it whole from the client's .key file.")
        private_folder(self.path)
        text = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public_key.decode()}"\n'
        write_private(private_folder(self.path / "clients") / f"{name}.key", text.encode())

    def enrolled(self) -> dict[bytes, str]:
        """Names of the clients that may connect, by public key; files that do not read as keys count as absent."""
        names: dict[bytes, str] = {}
        for file in sorted((self.path / "clients").glob("*.key")):
            try:
                names[zmq.auth.load_certificate(file)[0]] = file.stem
            except (OSError, ValueError):
                continue
        return names

    def strike(self, name: str) -> bool:
        """Let a client connect no more; returns whether there was one of that name. The backend
        says so to one that is connected, and hears it no longer."""
        file = self.path / "clients" / f"{name}.key"
        known = name in self.enrolled().values()
        if known:
            file.unlink(missing_ok=True)
        return known

    def pair(self, name: str) -> KeyPair:
        """The pair of this name, made the first time. Raises as :func:`read_pair`."""
        secret = private_folder(self.path) / f"{name}.key_secret"
        if not secret.is_file():
            with tempfile.TemporaryDirectory(dir=self.path) as made:
                for file in zmq.auth.create_certificates(made, name):
                    write_private(self.path / Path(file).name, Path(file).read_bytes())
        return read_pair(secret)


def read_pair(secret_file: Path) -> KeyPair:
    """The pair in a ``.key_secret`` file.

    Raises:
        ProtocolError: it is missing, broken, or (on POSIX) others may read it.
    """
    try:
        mode = secret_file.stat().st_mode
        public, secret = zmq.auth.load_certificate(secret_file)
    except (OSError, ValueError):
        raise ProtocolError(f"There is no key in {secret_file}.") from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ProtocolError(f"Others may read the secret key {secret_file}; run: chmod 600 {secret_file}")
    if secret is None or not is_key(public) or not is_key(secret):
        raise ProtocolError(f"The key in {secret_file} is broken; delete it, and a new one is made.")
    return KeyPair(public, secret)


def is_key(key: bytes) -> bool:
    """Whether this may be a key in Z85."""
    try:
        return len(key) == 40 and len(z85.decode(key)) == 32
    except (ValueError, KeyError, UnicodeDecodeError):
        return False
