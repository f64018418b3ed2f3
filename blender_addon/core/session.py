# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's life as the add-on sees it: searched, installed, started, connected, lost, and started again.

:meth:`Session.tick` is called now and then and never waits. Who serves a data folder is not decided here but by the
backend's own lock: one that is started beside another leaves again, and the connection goes to the first.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.connection import Connection
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import Message, PresetInfo, Presets, Refused, Shutdown, Welcome, Worker

from ..link.backend_python import Search, candidates
from ..link.install import Installation, InstallError, backend_source, check_room, plan
from ..link.process import end_of, spawn, tail, terminate
from .status import Status, status_of

RESTART_SECONDS = 5.0
"""Between two starts, at least; longer each time one fails."""
GRACE_SECONDS = 1.5
"""What a backend that has published itself gets to answer before another one is started."""
MAX_FAILURES = 3


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
    """

    python: str
    data: Path
    home: Path
    addon: Path
    version: str
    autostart: bool = True
    torch_index: str = ""

    @property
    def environment(self) -> Path:
        return self.home / "backend"

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


class Session:
    """One backend, or the lack of it.

    Attributes:
        worker: what was said last of the process that computes.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.worker: Worker | None = None
        self._presets: tuple[PresetInfo, ...] | None = None
        self._client = Client(local_target(settings.data), "blender", settings.version)
        self._search = self._new_search()
        self._installation: Installation | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._trouble = ""
        self._refusal = ""
        self._failures = 0
        self._started_at = -1e9
        self._log_start = 0
        self._closed_since = time.monotonic()

    @property
    def welcome(self) -> Welcome | None:
        """What the backend said of itself, once it has; its presets as it knows them now."""
        said = self._client.welcome
        return said if said is None or self._presets is None else replace(said, presets=self._presets)

    @property
    def connected(self) -> bool:
        return self._client.state == "open"

    @property
    def status(self) -> Status:
        """What the panel shows."""
        return status_of(
            client=self._client,
            worker=self.worker,
            search=self._search,
            installation=self._installation,
            process=self._process,
            wanted=self._wanted,
            trouble=self._trouble,
            outdated=self._refusal == "version",
            autostart=self.settings.autostart,
        )

    def tick(self, budget_seconds: float = 0.008) -> list[Received]:
        """Go on with everything, and return what the backend said."""
        letters = self._client.receive(budget_seconds)
        for message, _ in letters:
            if isinstance(message, Worker):
                self.worker = message
            elif isinstance(message, Welcome | Presets):
                self._presets = message.presets
            elif isinstance(message, Refused):
                self._refusal = message.code
        if self._installation is not None:
            self._installing(self._installation)
        self._search.poll()
        if self.connected:
            self._closed_since, self._failures, self._trouble = time.monotonic(), 0, ""
        elif self._client.state != "refused":
            self._look_after_process()
        return letters

    def send(self, message: Message, arrays: Arrays | None = None) -> None:
        """Say something to the backend, as soon as there is one.

        Raises:
            ProtocolError: the backend would refuse it; the sentence says why.
        """
        self._client.send(message, arrays)

    def want(self) -> None:
        """There is something to do for a backend: start one, if that may be done without asking."""
        if self.settings.autostart:
            self._wanted = True

    def start(self) -> None:
        """Start a backend now, or look again for one that can be started."""
        self._wanted, self._trouble, self._failures = True, "", 0
        self._started_at = -1e9
        if self._search.over and self._search.found is None:
            self._search = self._new_search()

    def restart(self) -> None:
        """End the backend, whoever started it, and start one anew; jobs go on from their checkpoints."""
        if self.connected:
            self.send(Shutdown())
        else:
            try:
                published = Connection.read(self.settings.data)
            except ProtocolError:
                published = None
            if published is not None:
                terminate(published.pid, published.endpoint)
            self._client.reconnect()
        self._search = self._new_search()
        self.start()

    def install(self, python: Path, online: bool) -> None:
        """Make the add-on's own environment.

        Args:
            python: that makes it.
            online: whether Blender may use the network.

        Raises:
            InstallError: it cannot be begun; the sentence says what to do.
        """
        if self._installation is not None:
            raise InstallError("The backend is being installed already.")
        try:
            source = check_room(self.settings.home, backend_source(self.settings.addon), online)
        except OSError as error:
            raise InstallError(f"{self.settings.home} cannot be written: {error.strerror}.") from None
        self._trouble = ""
        steps = plan(python, self.settings.environment, source, self.settings.torch_index)
        self._installation = Installation(steps, self.settings.install_log)

    def cancel_install(self) -> None:
        if self._installation is not None:
            self._installation.cancel()

    def close(self) -> None:
        """Let go of everything; the backend goes on, and leaves by itself when nobody needs it."""
        self.cancel_install()
        self._search.close()
        self._client.close()

    # --- what happens by itself ---

    def _new_search(self) -> Search:
        settings = self.settings
        return Search(candidates(settings.python, settings.environment), settings.search_log)

    def _installing(self, installation: Installation) -> None:
        if not installation.poll():
            return
        self._installation, self._trouble = None, installation.sentence
        if installation.sentence:
            return
        self._search = self._new_search()
        if self._client.state == "refused":  # by the old one, which goes on until it is ended
            self.restart()

    def _look_after_process(self) -> None:
        """Start a backend where one is wanted, none answers, and the last start was long enough ago."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process)
        idle = self._process is None and self._wanted and not self._trouble and self._search.found is not None
        now = time.monotonic()
        answers = now - self._closed_since < GRACE_SECONDS and self._published
        pause = RESTART_SECONDS * 2**self._failures if self._failures else RESTART_SECONDS
        if idle and not answers and now - self._started_at >= pause:
            self._begin()

    @property
    def _published(self) -> bool:
        try:
            return Connection.read(self.settings.data) is not None
        except ProtocolError:
            return False

    def _begin(self) -> None:
        log = self.settings.log
        self._started_at, self._log_start = time.monotonic(), end_of(log)
        command = [str(self._search.found), "-P", "-m", "dreamcraft3d.cli", "serve", "--data", str(self.settings.data)]
        try:
            self._process = spawn(command, log)
        except OSError as error:
            self._trouble = f"The backend cannot be started: {error.strerror}."

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            said = tail(self.settings.log, 1, self._log_start)
            why = said[0] if said else f"It ended with the status {process.returncode}."
            self._trouble = f"The backend does not start. {why}"
