"""CURVE keys on disk: the backend's pair, the local client's pair, and the public keys of clients that may connect.

``keys/`` in the data folder (mode 0700) holds ``server.key``, ``server.key_secret``, ``client.key``,
``client.key_secret`` and ``clients/NAME.key``, all in the certificate format of ``zmq.auth`` and with mode 0600.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
        if pair.public not in self.enrolled():
            self.enrol(pair.public, LOCAL)
        return pair

    def enrol(self, public_key: bytes, name: str) -> None:
        """Let a client connect, from now on.

        Args:
            public_key: its public key in Z85.
            name: what to call it: letters, digits, ``-`` and ``_``.

        Raises:
            ProtocolError: that is no key, or no name, or it cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ProtocolError(f"A client cannot be called {name[:80]!r}; use letters, digits, - and _.")
        if not is_key(public_key):
            raise ProtocolError("A public key has 40 characters in Z85; copy it whole from the client's .key file.")
        text = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public_key.decode()}"\n'
        with self._written():
            private_folder(self.path)
            write_private(private_folder(self.path / "clients") / f"{name}.key", text.encode())

    def enrolled(self) -> dict[bytes, str]:
        """Names of the clients that may connect, by public key; files that do not read as keys count as absent.

        Raises:
            ProtocolError: nothing can be read, as where a process has no descriptors left.
        """
        folder, names = self.path / "clients", dict[bytes, str]()
        try:
            for file in sorted(folder / name for name in os.listdir(folder) if name.endswith(".key")):
                try:
                    names[zmq.auth.load_certificate(file)[0]] = file.stem
                except (OSError, ValueError, IndexError) as error:
                    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                        raise
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ProtocolError(f"{folder} cannot be read: {error.strerror}.") from None
        return names

    def strike(self, name: str) -> bool:
        """Let a client connect no more; returns whether there was one of that name. The backend
        says so to one that is connected, and hears it no longer. Raises ProtocolError if it cannot be deleted."""
        file = self.path / "clients" / f"{name}.key"
        known = name in self.enrolled().values()
        if known:
            with self._written():
                file.unlink(missing_ok=True)
        return known

    def pair(self, name: str) -> KeyPair:
        """The pair of this name, made the first time.

        Raises:
            ProtocolError: as :func:`read_pair`, or others could put keys into the folder, or it cannot be written.
        """
        for folder in (self.path, self.path / "clients"):
            if folder.is_dir():
                _check_private(folder, "700")
        secret = self.path / f"{name}.key_secret"
        if not secret.is_file():
            with self._written(), tempfile.TemporaryDirectory(dir=private_folder(self.path)) as made:
                for file in zmq.auth.create_certificates(made, name):
                    write_private(self.path / Path(file).name, Path(file).read_bytes())
        return read_pair(secret)

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Raises ProtocolError where what is done inside fails on the disk."""
        try:
            yield
        except OSError as error:
            raise ProtocolError(f"{self.path} cannot be written: {error.strerror}.") from None


def read_pair(secret_file: Path) -> KeyPair:
    """The pair in a ``.key_secret`` file.

    Raises:
        ProtocolError: it is missing, broken, or (on POSIX) others may read it, or it is another user's.
    """
    try:
        public, secret = zmq.auth.load_certificate(secret_file)
    except (OSError, ValueError):
        raise ProtocolError(f"There is no key in {secret_file}.") from None
    _check_private(secret_file, "600")
    if secret is None or not is_key(public) or not is_key(secret):
        raise ProtocolError(f"The key in {secret_file} is broken; delete it, and a new one is made.")
    return KeyPair(public, secret)


def _check_private(path: Path, mode: str) -> None:
    """Raises ProtocolError where, on POSIX, others may get at it."""
    if os.name != "posix":
        return
    found = path.stat()
    if os.geteuid() not in (0, found.st_uid):
        raise ProtocolError(f"The keys in {path} are another user's; become that one, or name another data folder.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ProtocolError(f"Others may get at the keys in {path}; run: chmod {mode} {path}")


def is_key(key: bytes) -> bool:
    """Whether this may be a key in Z85."""
    try:
        return len(key) == 40 and len(z85.decode(key)) == 32
    except (ValueError, KeyError, UnicodeDecodeError):
        return False
