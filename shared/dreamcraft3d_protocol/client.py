"""A client that never blocks and never raises on network trouble: it has a state and a sentence instead.

Call :meth:`Client.receive` from a timer, every now and then; it connects, reconnects, sends what waits, keeps the
connection alive and returns what came. Not for use from several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import zmq
from zmq.utils.monitor import parse_monitor_message

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import MAX_BYTES, Frame, Received, decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.mailbox import Mailbox
from dreamcraft3d_protocol.messages import (
    BACKEND_KINDS,
    Attach,
    Detach,
    Error,
    Forget,
    Hello,
    JobState,
    Message,
    Ping,
    Pong,
    Refused,
    Result,
    Resume,
    Submit,
    Welcome,
)

PING_SECONDS = 2.0
DEAD_SECONDS = 10.0
"""Of silence, after which a connection is given up, and twice as long after each that was: no answer comes through while a
large message is on its way, and given up it would begin anew."""
LONGEST_SECONDS = 320.0
"""The most of it; a connection that has lasted so long begins with the least again."""
RETRY_SECONDS = 0.5
IN_FLIGHT = 8
"""Messages that ZeroMQ holds here until they are read. Where a program stands still, as Blender does while it renders, the
others wait in the backend, which drops what newer ones make needless."""
MAX_WAITING = 1000
"""Messages that may wait for a connection; when there are more, the oldest is dropped."""

_TROUBLE = {
    int(zmq.EVENT_CONNECT_RETRIED): "Nobody listens where the backend should be.",
    int(zmq.EVENT_DISCONNECTED): "The connection to the backend broke.",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "What answers there is not this backend, or has another key.",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "What answers there is not this backend, or has another key.",
}

ClientState = Literal["connecting", "refused", "open", "lost"]
Target = Callable[[], tuple[str, bytes, KeyPair] | None]
"""Endpoint, the backend's public key and the client's pair; None while no backend runs. May raise ProtocolError."""


def local_target(data: Path) -> Target:
    """The backend of a data folder on this machine, wherever it listens now."""

    def find() -> tuple[str, bytes, KeyPair] | None:
        connection = Connection.read(data)
        if connection is None:
            return None
        return connection.endpoint, connection.server_public_key.encode(), keys_of(data).client_pair()

    return find


def remote_target(endpoint: str, server_public_key: bytes, pair: KeyPair) -> Target:
    """A backend anywhere, which has enrolled ``pair.public``."""
    return lambda: (endpoint, server_public_key, pair)


class Client:
    """One connection to one backend.

    Attributes:
        state: ``connecting`` until the first handshake; ``open``; ``lost`` while it reconnects; ``refused`` for good,
            until :meth:`reconnect`.
        sentence: why the state is as it is, for the artist.
        refusal: for programs, why it was refused: ``key``, or the code of :class:`Refused`; else empty.
        welcome: what the backend said of itself, once it has been open.
    """

    def __init__(self, target: Target, name: str, version: str) -> None:
        """
        Args:
            target: where the backend is: :func:`local_target` or :func:`remote_target`.
            name, version: of the program, for the backend's log.
        """
        self.state: ClientState = "connecting"
        self.sentence = "Looking for the backend."
        self.refusal = ""
        self.welcome: Welcome | None = None
        self._target = target
        self._hello = Hello(*VERSION, name, version)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._outbox: list[list[Frame]] = []
        self._inbox = Mailbox()
        self._attached: set[str] = set()
        self._unanswered: dict[str, list[Frame]] = {}
        self._retry_at = self._pinged_at = 0.0
        self._asked_at: float | None = None  # since when an answer is due
        self._opened_at, self._silences = 0.0, 0

    def send(self, message: Message, arrays: Arrays | None = None) -> None:
        """Send now, or as soon as there is a connection.

        Jobs submitted, resumed or attached to are attached to again after a connection was lost, until their result has
        come, and a submission that was not answered is sent again; other messages on their way at that moment may be lost.

        Raises:
            ProtocolError: the backend would refuse this message. Nothing is sent.
        """
        frames = encode(message, arrays)
        if isinstance(message, Submit):
            self._unanswered[message.job] = frames
        if isinstance(message, Submit | Attach | Resume):
            self._attached.add(message.job)
        if isinstance(message, Detach | Forget):
            self._attached.discard(message.job)
        self._outbox.append(frames)
        del self._outbox[:-MAX_WAITING]
        self._flush()

    def receive(self, budget_seconds: float = 0.01) -> list[Received]:
        """What came since the last call, in order, of previews only the newest; takes little more than the budget."""
        self._pump(budget_seconds)
        return [self._inbox.take() for _ in range(len(self._inbox))]

    def wait_for(self, wanted: Callable[[Message], bool], timeout_seconds: float) -> Received | None:
        """For scripts: block until a message comes that is wanted; those before it are dropped. None when time is up."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._pump(0.05)
            while len(self._inbox):
                message, arrays = self._inbox.take()
                if wanted(message):
                    return message, arrays
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if self._socket is None:
                time.sleep(min(left, 0.05))
            else:
                self._socket.poll(int(1000 * min(left, 0.05)))

    def reconnect(self) -> None:
        """Try anew, also after a refusal."""
        self._disconnect("connecting", "Looking for the backend.")
        self._retry_at, self._silences = 0.0, 0

    def close(self) -> None:
        """Let go of the sockets; unsent messages are dropped."""
        self._disconnect("lost", "The connection was closed.")
        self._context.destroy(linger=0)

    # --- the connection ---

    def _pump(self, budget_seconds: float) -> None:
        deadline = time.monotonic() + budget_seconds
        if self._socket is None and self.state != "refused" and time.monotonic() >= self._retry_at:
            self._connect()
        if self._socket is None:
            return
        while self._socket is not None:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self._asked_at = None
            self._take_in(frames)
            if time.monotonic() >= deadline:
                break
        self._watch_connection()
        self._keep_alive()
        self._flush()

    def _connect(self) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        try:
            target = self._target()
        except (ProtocolError, OSError) as error:
            self.sentence = str(error)
            return
        if target is None:
            self.sentence = "The backend is not running."
            return
        endpoint, server_key, pair = target
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        socket.setsockopt(zmq.RCVHWM, IN_FLIGHT)
        socket.setsockopt(zmq.HANDSHAKE_IVL, int(DEAD_SECONDS * 1000))
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        self._monitor = socket.get_monitor_socket(sum(_TROUBLE) | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        self._socket = socket
        self._asked_at = time.monotonic()
        try:
            socket.connect(endpoint)
        except zmq.ZMQError:
            self._lose(f"{endpoint!r} is no address; it looks like tcp://HOST:PORT.")
            return
        self._deliver(encode(self._hello))

    def _watch_connection(self) -> None:
        """Notice at once what ZeroMQ knows: a key that is not enrolled, nobody listening, a connection that broke."""
        while self._monitor is not None:
            try:
                event = parse_monitor_message(self._monitor.recv_multipart(zmq.NOBLOCK))["event"]
            except zmq.Again:
                return
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._disconnect("refused", "The backend does not know this client's key; enrol it there.", "key")
            else:
                self._lose(_TROUBLE[event])

    def _lose(self, sentence: str) -> None:
        self._disconnect("connecting" if self.welcome is None else "lost", sentence)

    def _disconnect(self, state: ClientState, sentence: str, refusal: str = "") -> None:
        self.state, self.sentence, self.refusal = state, sentence, refusal
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(linger=0)
        self._socket = self._monitor = None

    def _take_in(self, frames: list[zmq.Frame]) -> None:
        try:
            message, arrays = decode(frames, BACKEND_KINDS, 0 if self.welcome is None else self.welcome.minor)
        except ProtocolError as error:
            self.sentence = f"A message could not be read: {error}"
            return
        if isinstance(message, Pong):
            return
        if isinstance(message, Refused) and message.code == "hello":
            self._lose("The backend has forgotten this connection.")
            return
        if isinstance(message, Refused):
            self._disconnect("refused", f"{message.sentence} {message.hint}".strip(), message.code)
        elif isinstance(message, Welcome):
            self._opened(message)
        elif isinstance(message, JobState):
            self._unanswered.pop(message.job, None)
        elif isinstance(message, Error) and message.job is not None:
            if self._unanswered.pop(message.job, None) is not None:  # there is no such job
                self._attached.discard(message.job)
        elif isinstance(message, Result):  # after which there is nothing more to be shown
            self._attached.discard(message.job)
        self._inbox.put(message, arrays)

    def _opened(self, welcome: Welcome) -> None:
        again = self.welcome is not None
        self.state, self.sentence, self.welcome = "open", "", welcome
        self._opened_at = time.monotonic()
        if again:
            lost = [frames for frames in self._unanswered.values() if not any(frames is f for f in self._outbox)]
            attach = [encode(Attach(job)) for job in sorted(self._attached - self._unanswered.keys())]
            self._outbox[:0] = lost + [frames for frames in attach if frames not in self._outbox]

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if self._socket is None:
            return
        patience = min(DEAD_SECONDS * 2**self._silences, LONGEST_SECONDS) if self.state == "open" else DEAD_SECONDS
        if self._asked_at is None and now - self._opened_at > LONGEST_SECONDS:
            self._silences = 0
        if self._asked_at is not None and now - self._asked_at > patience:
            self._silences += self.state == "open"
            self._lose(f"The backend was silent for {patience:.0f} s.")
        elif self.state == "open" and now - self._pinged_at > PING_SECONDS:
            self._pinged_at = now
            self._asked_at = self._asked_at or now
            self._deliver(encode(Ping()))

    def _flush(self) -> None:
        while self.state == "open" and self._outbox and self._deliver(self._outbox[0]):
            self._outbox.pop(0)

    def _deliver(self, frames: list[Frame]) -> bool:
        """Hand frames to ZeroMQ; False if its queue is full."""
        if self._socket is None:
            return False
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return False
        return True
