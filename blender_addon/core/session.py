# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's life as the add-on sees it: searched, installed, started, connected, lost, and started again.

:meth:`Session.tick` is called now and then and never waits. Who serves a data folder is not decided here but by the
backend's own lock: one that is started beside another leaves again, and the connection goes to the first.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.connection import Connection
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import Message, PresetInfo, Presets, Shutdown, Welcome, Worker

from ..link.doctor import Doctor
from ..link.install import InstallError
from ..link.process import end_of, spawn, stop, tail, terminate
from .environment import Environment
from .remote import own_pair
from .settings import Settings
from .status import Status, remote_status_of, status_of

RESTART_SECONDS = 5.0
"""Between two starts, at least; longer each time one fails."""
GRACE_SECONDS = 1.5
"""What a backend that has published itself gets to answer before another one is started."""
MAX_FAILURES = 3


class Session:
    """One backend, or the lack of it.

    Attributes:
        worker: what was said last of the process that computes.
        environment: the Python that has the backend, on this machine.
        doctor: who looks at the machine, or has; or None.
        public_key: the add-on's own, for whoever runs a backend elsewhere; empty for one on this machine.
        stopped: the artist stopped the backend; what is only to be watched does not start it again.
    """

    def __init__(self, settings: Settings, environment: Environment | None = None) -> None:
        """``environment`` is that of the session before, if there was one."""
        self.settings = settings
        self.worker: Worker | None = None
        self._presets: tuple[PresetInfo, ...] | None = None
        self.environment = environment or Environment(settings)
        self.doctor: Doctor | None = None
        self.public_key = _public_key(settings)
        self.stopped = False
        target = settings.remote.target(settings.keys) if settings.remote is not None else local_target(settings.data)
        self._client = Client(target, "blender", settings.version)
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._trouble = ""
        self._ending = False
        self._then: Callable[[], None] | None = None
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
        remote = self.settings.remote
        if remote is not None:
            return remote_status_of(self._client, self.worker, remote)
        return status_of(
            client=self._client,
            worker=self.worker,
            search=self.environment.search,
            installation=self.environment.installation,
            process=self._process,
            wanted=self._wanted,
            trouble=self._trouble or self.environment.trouble,
            ending=self._ending,
            update=self.environment.update,
            own=self.environment.own or self.environment.search.found is None,
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
        if self.environment.poll():
            self._installed()
        if self.doctor is not None:
            self.doctor.poll()
        if self.connected:
            self._closed_since, self._failures, self._trouble = time.monotonic(), 0, ""
        elif self._ending:
            self._go_on_ending()
        elif self._client.state != "refused" and self.settings.remote is None:
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
        self.stopped = False
        if self.settings.autostart:
            self._wanted = True

    def start(self) -> None:
        """Start a backend now, or look again for one that can be started."""
        self._wanted, self.stopped, self._failures = True, False, 0
        self._trouble = self.environment.trouble = ""
        self._started_at = -1e9
        if self.environment.search.over and self.environment.search.found is None:
            self.environment.look_again()

    def restart(self) -> None:
        """End the backend, whoever started it, and start one anew; jobs go on from their checkpoints."""
        if self.settings.remote is not None:
            self._client.reconnect()
        else:
            self._end(self._start_anew)

    def stop(self) -> None:
        """End the backend, whoever started it; jobs keep their checkpoints, and it stays off until one is ordered."""
        self.stopped, self._wanted = True, False
        self._end()

    def install(self, python: Path, online: bool) -> None:
        """Make the add-on's own environment; see :meth:`Environment.install`."""
        self.environment.install(python, online)
        self._trouble = ""

    def update(self, online: bool) -> None:
        """End the backend, and bring the add-on's own environment up to date.

        Raises:
            InstallError: there is nothing to update, or an installation goes on.
        """
        self.environment.check_free()
        if not self.environment.update:
            raise InstallError("There is nothing to update.")
        self._trouble = ""
        self._wanted = self._wanted or self.connected
        self._end(lambda: self.environment.bring_up_to_date(online))

    def remove(self, python: Path) -> None:
        """End the backend, and delete the add-on's own environment.

        Raises:
            InstallError: there is none, or an installation goes on.
        """
        self.environment.check_free()
        if not self.environment.made:
            raise InstallError("The add-on has no environment of its own.")
        self._wanted, self._trouble = False, ""
        self._end(lambda: self.environment.remove(python))

    def cancel_install(self) -> None:
        self.environment.cancel()

    def examine(self) -> None:
        """Have the backend look at the machine it is on, where one was found; see ``doctor``."""
        found = self.environment.search.found
        if found is not None and (self.doctor is None or self.doctor.over):
            self.doctor = Doctor(found, self.settings.doctor_log)

    def under(self, settings: Settings) -> Session:
        """The session under other settings: itself, or another one for another backend. An installation goes on."""
        if settings.same_backend(self.settings):
            self.settings = self.environment.settings = settings
            return self
        self._let_go()
        self.environment.go_by(settings)
        return Session(settings, self.environment)

    def close(self) -> None:
        """Let go of everything; the backend goes on, and leaves by itself when nobody needs it."""
        self.environment.close()
        self._let_go()

    # --- what happens by itself ---

    def _let_go(self) -> None:
        if self.doctor is not None:
            self.doctor.close()
        self._client.close()

    def _installed(self) -> None:
        """The environment is another one now."""
        if self._client.state == "refused":  # by the old backend, which goes on until it is ended
            self.restart()

    def _start_anew(self) -> None:
        self.environment.look_again()
        self.start()

    def _end(self, then: Callable[[], None] | None = None) -> None:
        """Have the backend leave, one that is only starting, too, and go on with ``then`` once it has."""
        self._ending, self._then = True, then
        if self.connected:
            self.send(Shutdown())
            return
        try:
            published = Connection.read(self.settings.data)
        except ProtocolError:
            published = None
        if published is not None:
            terminate(published.pid, published.endpoint)
        if self._process is not None:
            stop(self._process)

    def _go_on_ending(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        then, self._process = self._then, None
        self._ending, self._then = False, None
        self._client.reconnect()
        if then is not None:
            then()

    def _look_after_process(self) -> None:
        """Start a backend where one is wanted, none answers, and the last start was long enough ago."""
        if self._process is not None and self._process.poll() is not None:
            self._ended(self._process)
        environment = self.environment
        able = environment.installation is None and environment.search.found is not None
        idle = able and self._process is None and self._wanted and not self._trouble
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
        python, data = str(self.environment.search.found), str(self.settings.data)
        command = [python, "-P", "-m", "dreamcraft3d.cli", "serve", "--data", data]
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


def _public_key(settings: Settings) -> str:
    """The add-on's own for backends elsewhere; what is wrong with it, the connection says."""
    try:
        return own_pair(settings.keys).public.decode() if settings.remote is not None else ""
    except ProtocolError:
        return ""
