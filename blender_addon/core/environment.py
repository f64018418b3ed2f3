# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python that has the backend: looked for, and the add-on's own environment made, updated, removed."""

from __future__ import annotations

from pathlib import Path

from ..link.backend_python import Search, candidates, python_of
from ..link.folder_size import FolderSize
from ..link.install import (
    Installation,
    InstallError,
    backend_source,
    check_room,
    numbers,
    plan,
    plan_removal,
    plan_update,
    version_of,
)
from .settings import Settings


class Environment:
    """What there is of the backend's program on this machine.

    Attributes:
        search: for a Python that has it.
        installation: that goes on, or None.
        trouble: why the last one ended without success, or empty.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.installation: Installation | None = None
        self.trouble = ""
        self._brought = version_of(backend_source(settings.addon))
        self._size: FolderSize | None = None
        self.search = self._new_search()

    @property
    def own(self) -> bool:
        """Whether the Python that was found is the add-on's own."""
        return self.search.found == python_of(self.settings.environment)

    @property
    def made(self) -> bool:
        """Whether the add-on has an environment of its own, whatever it is good for."""
        return self.settings.environment.is_dir()

    @property
    def update(self) -> str:
        """The version that the add-on brings, where its own environment has an older one; else empty."""
        newer = self.own and self._brought > numbers(self.search.version)
        return ".".join(map(str, self._brought)) if newer else ""

    @property
    def size(self) -> int | None:
        """Bytes of the add-on's own environment; None while they are being counted."""
        if self._size is None:
            self._size = FolderSize(self.settings.environment)
        return self._size.bytes

    def poll(self) -> bool:
        """Go on without waiting; returns whether an installation has just ended well."""
        ended = False
        if self.installation is not None and self.installation.poll():
            ended, self.trouble = not self.installation.sentence, self.installation.sentence
            self.installation = None
            self.look_again()
        self.search.poll()
        return ended

    def go_by(self, settings: Settings) -> None:
        """Search by other settings; an installation goes on."""
        self.settings, self.trouble = settings, ""
        self.look_again()

    def look_again(self) -> None:
        """Search anew."""
        self.search.close()
        self.search, self._size = self._new_search(), None

    def install(self, python: Path, online: bool) -> None:
        """Make the add-on's own environment.

        Args:
            python: that makes it.
            online: whether Blender may use the network.

        Raises:
            InstallError: it cannot be begun; the sentence says what to do.
        """
        self.check_free()
        settings = self.settings
        try:
            source = check_room(settings.home, backend_source(settings.addon), online)
        except OSError as error:
            raise InstallError(f"{settings.home} cannot be written: {error.strerror}.") from None
        self._begin(
            Installation(plan(python, settings.environment, source, settings.torch_index), settings.install_log)
        )

    def bring_up_to_date(self, online: bool) -> None:
        """Put the backend that the add-on brings in the place of the older one; what it needs besides stays."""
        source = backend_source(self.settings.addon)
        if source is not None:
            steps = plan_update(self.settings.environment, source, online)
            self._begin(Installation(steps, self.settings.install_log))

    def remove(self, python: Path) -> None:
        """Delete the add-on's own environment. ``python`` does it."""
        steps = plan_removal(python, self.settings.environment)
        self._begin(Installation(steps, self.settings.install_log, stoppable=False))

    def check_free(self) -> None:
        """Raises InstallError while an installation goes on."""
        if self.installation is not None:
            raise InstallError("The backend is being installed or removed already. Wait until that has ended.")

    def cancel(self) -> None:
        if self.installation is not None and self.installation.stoppable:
            self.installation.cancel()

    def close(self) -> None:
        self.cancel()
        self.search.close()

    def _begin(self, installation: Installation) -> None:
        self.trouble, self.installation = "", installation

    def _new_search(self) -> Search:
        settings = self.settings
        asked = [] if settings.remote is not None else candidates(settings.python, settings.environment)
        return Search(asked, settings.search_log)
