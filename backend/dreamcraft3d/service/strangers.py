"""Those who connect and never say who they are: the log has them, and not too often."""

from __future__ import annotations

import contextlib
import logging
import socket
import time

import zmq
from zmq.utils.monitor import parse_monitor_message

log = logging.getLogger(__name__)

TOLD_SECONDS = 60.0
"""Strangers knock again and again; the log has them so seldom."""
MAX_STRANGERS = 200
"""Who may be connected at a time without a word; of more, those who came first are shut out."""
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_MONITOR = "inproc://strangers"


class Knocks:
    """A warning that counts what it warns of, and comes once a minute at most."""

    def __init__(self, sentence: str) -> None:
        """``sentence`` has a place for how many there were, and one for who was the last."""
        self._sentence = sentence
        self._count, self._last, self._tell_at = 0, "", 0.0

    def add(self, who: str) -> None:
        self._count, self._last = self._count + 1, who
        self.tell()

    def tell(self) -> None:
        """Say what was not said yet, if it is time."""
        if self._count and time.monotonic() >= self._tell_at:
            log.warning(self._sentence, self._count, self._last)
            self._count, self._tell_at = 0, time.monotonic() + TOLD_SECONDS


class Strangers:
    """The connections of a socket over which nothing has come that CURVE let through.

    What speaks no ZeroMQ, no CURVE, or has another backend's key is dropped by ZeroMQ, which tells of it in many ways,
    and of some only that a connection ended.

    Attributes:
        socket: readable when :meth:`tick` has something new.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], watched: zmq.Socket[bytes]) -> None:
        """Watch a socket that is not bound yet."""
        watched.monitor(_MONITOR, _EVENTS)
        self.socket = context.socket(zmq.PAIR)
        self.socket.rcvhwm = 0  # or ZeroMQ stands still, and its closing with it, until somebody reads
        self.socket.connect(_MONITOR)
        self._open: dict[int, str] = {}
        self._known: set[int] = set()
        self._refused = 0
        self._knocks = Knocks("%d connections ended before they said who they are; the last came from %s")

    def known(self, connection: int) -> None:
        """Something came over this connection, by its file descriptor: it is no stranger's."""
        self._known.add(connection)

    def tick(self) -> None:
        """Take note of who came and went; those whose messages wait to be read must be known before."""
        new = set()
        while self.socket.poll(0):
            event = parse_monitor_message(self.socket.recv_multipart())
            number, connection = event["event"], event["value"]
            if number == zmq.EVENT_ACCEPTED:
                self._open[connection] = "an address that was gone at once"
                new.add(connection)
            elif number == zmq.EVENT_HANDSHAKE_FAILED_AUTH:  # whom the gate has named
                self._refused += 1
            elif (where := self._open.pop(connection, None)) is not None:
                if connection in self._known:
                    self._known.remove(connection)
                elif self._refused:
                    self._refused -= 1
                else:
                    self._knocks.add(where)
        for connection in new & self._open.keys():
            self._open[connection] = _peer(connection) or self._open[connection]
        strangers = [connection for connection in self._open if connection not in self._known]
        for connection in strangers[:-MAX_STRANGERS]:
            _shut(connection, self._open[connection])
        self._knocks.tell()


def _peer(connection: int) -> str:
    """Where a connection comes from, HOST:PORT; empty if it is over."""
    try:
        with _shared(connection) as shared:
            return _address(shared)
    except OSError:
        return ""


def _shut(connection: int, peer: str) -> None:
    """End a connection; nothing happens if it is over, and its descriptor is another's."""
    with contextlib.suppress(OSError), _shared(connection) as shared:
        if _address(shared) == peer:
            shared.shutdown(socket.SHUT_RDWR)


def _shared(connection: int) -> socket.socket:
    return socket.fromfd(connection, socket.AF_INET, socket.SOCK_STREAM)


def _address(connection: socket.socket) -> str:
    return "{}:{}".format(*connection.getpeername())
