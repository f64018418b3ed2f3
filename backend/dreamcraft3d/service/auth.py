"""Who may connect: an allow-list of public keys, asked anew at every handshake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import zmq
from zmq.auth.thread import ThreadAuthenticator

Allowed = Callable[[bytes], bool]
"""Whether a public key, in Z85, may connect."""

log = logging.getLogger(__name__)

TOLD_SECONDS = 60.0
"""Strangers knock again and again; the log has them so seldom."""


class _Asked:
    """What pyzmq's authenticator calls; a class, as it wants one."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self._refused, self._tell_at = 0, 0.0

    def callback(self, domain: str, key: bytes) -> bool:
        if self.allowed(key):
            return True
        self._refused += 1
        if time.monotonic() >= self._tell_at:
            log.warning("refused %d times: keys not enrolled; the last was %s", self._refused, key.decode())
            self._refused, self._tell_at = 0, time.monotonic() + TOLD_SECONDS
        return False


class Gate:
    """Answers ZeroMQ's authentication requests of a context, on a thread of its own.

    Sockets name their ``zap_domain``; a domain nobody has allowed anything lets nobody in.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()

    def allow(self, domain: str, allowed: Allowed) -> None:
        """Ask ``allowed``, from the gate's thread, about keys that come to this domain."""
        self._authenticator.configure_curve_callback(domain, _Asked(allowed))

    def close(self) -> None:
        self._authenticator.stop()
