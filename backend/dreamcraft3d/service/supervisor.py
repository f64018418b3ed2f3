"""The supervisor: one process a data folder that lets clients in, queues jobs and watches over the worker.

It never imports torch, so that it starts at once and nothing that computes can take it down.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from types import FrameType

import zmq

from dreamcraft3d import __version__
from dreamcraft3d.errors import UserError
from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.desk import MAX_SENTENCE, Desk
from dreamcraft3d.service.downloads import Downloads
from dreamcraft3d.service.engine import Engine, LocalWorker
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.logs import start_log
from dreamcraft3d.service.memory import GIVE_BACK_SECONDS, give_back, keep_for_good, keep_large_apart
from dreamcraft3d.service.recovery import open_journal
from dreamcraft3d.service.register import Register
from dreamcraft3d.service.retention import ALL, CHECK_SECONDS, Limits
from dreamcraft3d.service.sockets import LOOPBACK, Clients, Session
from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import LOCAL
from dreamcraft3d_protocol.messages import CancelDownload, Download, Error, Hello, Message, Models, Shutdown, Welcome

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
BUSY_TICK_SECONDS = 0.02
DESCRIPTORS = 4096
"""Open files and connections, if the system allows so many."""
STOP_SECONDS = 20.0
"""What a job gets to leave its checkpoint when the supervisor is asked to end."""


def serve(path: Path, port: int, idle_minutes: float, address: str = LOOPBACK, limits: Limits = ALL) -> None:
    """Serve a data folder until there is a signal, a ``shutdown``, or nothing to do for long.

    Args:
        path: the data folder; it is made if it is not there.
        port: 0 for a free one.
        idle_minutes: how long to stay without clients and jobs.
        address: to listen at; another than the loopback interface's is for clients elsewhere, one of whom must be enrolled.
        limits: what is kept of jobs that have ended.

    Raises:
        UserError: the folder is taken or cannot be used, or the port is, or nobody elsewhere may connect.
    """
    _check_address(address, path)
    data = DataFolder(path.absolute())
    with data.acquire(), contextlib.ExitStack() as stack:
        try:
            start_log(data.log, terminal=True)
            keep_large_apart()
            _allow_descriptors()
            supervisor = Supervisor(data, port, address, stack)
            keep_for_good()
            supervisor.run(idle_minutes * 60, limits)
        except ProtocolError as error:
            raise UserError(str(error)) from None
        except OSError as error:
            raise UserError(f"{data.path} cannot be used: {error.strerror or error}.", "Look after its disk.") from None


class Supervisor:
    """The loop, and what is made before and taken down after it."""

    def __init__(self, data: DataFolder, port: int, address: str, stack: contextlib.ExitStack) -> None:
        """``stack`` takes everything down, in the opposite order."""
        context = zmq.Context()
        stack.callback(context.destroy, linger=500)
        gate = Gate(context)
        stack.callback(gate.close)
        self._store = open_journal(data)
        stack.callback(self._store.close)
        try:
            self._clients = Clients(context, gate, keys_of(data.path), port, address)
        except zmq.ZMQError as error:
            raise UserError(
                f"Port {port} of {address} cannot be had: {error.strerror}.", "Choose another, or none."
            ) from None
        stack.callback(self._clients.close)
        self._engine: Engine = LocalWorker(context, gate, data)
        stack.callback(self._engine.close)
        self._register = Register(data, self._store, self._clients.tell_all)
        self._desk = Desk(data, self._register, self._clients, self._engine)
        self._downloads = Downloads(lambda: self._clients.tell_of_models(self._downloads.listed()))
        stack.callback(self._downloads.close)
        self._told = self._engine.told
        self._leaving = ""
        connection = Connection(self._clients.endpoint, self._clients.public_key, os.getpid(), *VERSION, __version__)
        connection.publish(data.path)
        stack.callback(Connection.withdraw, data.path)
        log.info("serves %s at %s, process %d", data.path, connection.endpoint, connection.pid)
        if address != LOOPBACK:
            log.info("clients elsewhere need this public key: %s", connection.server_public_key)

    def run(self, idle_seconds: float, limits: Limits) -> None:
        """Serve until it is time to leave."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        busy_at = time.monotonic()
        tidied_at, gave_at = -CHECK_SECONDS, busy_at
        while not self._leaving:
            if time.monotonic() - tidied_at > CHECK_SECONDS:
                tidied_at = time.monotonic()
                self._desk.tidy(limits)
            if time.monotonic() - gave_at > GIVE_BACK_SECONDS:
                gave_at = time.monotonic()
                give_back()
            self._register.save_again()
            self._desk.begin_next()
            self._turn()
            if self._clients.sessions or self._desk.busy or self._downloads.busy:
                busy_at = time.monotonic()
            elif time.monotonic() - busy_at > idle_seconds:
                self._leaving = "nobody needs it"
        log.info("leaves: %s", self._leaving)
        self._stop_job()

    def _turn(self) -> None:
        """Wait for something to happen, and deal with it."""
        waits = self._clients.flush()
        sockets = [self._clients.socket, self._clients.strangers.socket]
        if self._engine.socket is not None:
            sockets.append(self._engine.socket)
        zmq.select(sockets, [], [], BUSY_TICK_SECONDS if waits else TICK_SECONDS)
        for session, message, arrays in self._clients.receive():
            if isinstance(message, Hello):
                self._welcome(session)
            elif isinstance(message, Shutdown):
                self._shut_down(session)
            elif isinstance(message, Models | Download | CancelDownload):
                self._about_models(session, message)
            else:
                self._desk.asked(session, message, arrays)
        for letter in self._engine.tick():
            self._desk.happened(letter)
        if self._engine.told != self._told:
            self._told = self._engine.told
            self._clients.tell_all(self._told)
        self._downloads.tick()
        self._clients.look_after()

    def _welcome(self, session: Session) -> None:
        said: list[Message] = [
            Welcome(*VERSION, __version__, self._store.backend_id, self._desk.presets()),
            self._told,
            self._desk.listed(),
        ]
        for message in said:
            self._clients.tell(session, message)

    def _about_models(self, session: Session, message: Models | Download | CancelDownload) -> None:
        try:
            if isinstance(message, Models):
                session.models = True
                self._clients.tell(session, self._downloads.listed())
            elif isinstance(message, Download):
                self._downloads.begin(message.model, message.accepted, session.name)
            else:
                self._downloads.cancel(message.model)
        except UserError as error:
            log.info("%s is told: %s", session.name, error)
            self._clients.tell(session, Error("user", error.sentence[:MAX_SENTENCE], error.hint))
        except OSError as error:
            self._clients.tell(session, Error("disk", f"The folder of models cannot be used: {error.strerror}."))

    def _shut_down(self, session: Session) -> None:
        if session.local:
            self._leaving = "a client asked for it"
        else:
            sentence = "Only a client on the backend's own machine may end it."
            self._clients.tell(session, Error("denied", sentence, "Stop it there."))

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self._leaving = signal.Signals(number).name

    def _stop_job(self) -> None:
        """Have the running job leave its checkpoint; it goes on when the folder is served again."""
        job = self._register.running
        if job is None:
            return
        self._engine.stop(job.id)
        deadline = time.monotonic() + STOP_SECONDS
        while job.active and time.monotonic() < deadline:
            self._turn()


def _allow_descriptors() -> None:
    """Have more than the few that a shell allows, so that strangers do not soon take the last."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        allowed = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _check_address(address: str, path: Path) -> None:
    """Raises UserError for what is no address, and for one that others reach while none of them may connect."""
    try:
        loopback = IPv4Address(address).is_loopback
    except ValueError:
        raise UserError(f"{address!r} is no IPv4 address.", "Such as --bind 0.0.0.0, which is all of them.") from None
    if not loopback and not set(keys_of(path).enrolled().values()) - {LOCAL}:
        raise UserError(
            f"Nobody elsewhere may connect, so that there is no use in listening at {address}.",
            "First let somebody in: dreamcraft3d keys add NAME 'KEY', with the key that their add-on's preferences show.",
        )
