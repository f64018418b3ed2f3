# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, as the preferences say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dreamcraft3d_protocol.keys import KeyFolder

from .remote import Remote


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes:
        python: a Python with the backend that the artist named, or empty.
        data: the data folder.
        home: where the add-on's own environment and logs lie.
        addon: the add-on's folder.
        version: of the add-on.
        autostart: start a backend when there is something for it to do.
        torch_index: a package index that has PyTorch; empty for PyTorch's own.
        remote: a backend on another machine, instead of one on this; or None.
    """

    python: str
    data: Path
    home: Path
    addon: Path
    version: str
    autostart: bool = True
    torch_index: str = ""
    remote: Remote | None = None

    def same_backend(self, other: Settings) -> bool:
        """Whether both mean the same one, whatever else they say."""
        return (self.python, self.data, self.remote) == (other.python, other.data, other.remote)

    @property
    def environment(self) -> Path:
        return self.home / "backend"

    @property
    def keys(self) -> KeyFolder:
        """The add-on's own, for backends elsewhere; those of this machine have theirs in the data folder."""
        return KeyFolder(self.home / "keys")

    @property
    def log(self) -> Path:
        """What the backend says."""
        return self.home / "backend.log"

    @property
    def install_log(self) -> Path:
        return self.home / "install.log"

    @property
    def search_log(self) -> Path:
        return self.home / "search.log"

    @property
    def doctor_log(self) -> Path:
        return self.home / "doctor.log"

    @property
    def newest_log(self) -> Path | None:
        """What was written to last of the backend's log and its installation's; None if there is neither."""
        there = [file for file in (self.log, self.install_log) if file.is_file()]
        return max(there, key=lambda file: file.stat().st_mtime, default=None)
