"""Who may connect: an allow-list of public keys, asked anew at every handshake."""

from __future__ import annotations

from collections.abc import Callable

import zmq
from zmq.auth.thread import ThreadAuthenticator

from dreamcraft3d.service.strangers import Knocks
from dreamcraft3d_protocol.codec import MAX_BYTES
from dreamcraft3d_protocol.keys import KeyPair

HANDSHAKE_SECONDS = 5
"""A stranger who says nothing for so long is not waited for."""

Allowed = Callable[[bytes], bool]
"""Whether a public key, in Z85, may connect."""


class _Asked:
    """What pyzmq's authenticator calls; a class, as it wants one."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self._knocks = Knocks("refused %d times: keys not enrolled; the last was %s")

    def callback(self, domain: str, key: bytes) -> bool:
        if self.allowed(key):
            return True
        self._knocks.add(key.decode())
        return False


class Gate:
    """Answers ZeroMQ's authentication requests of a context, on a thread of its own."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()

    def guard(self, socket: zmq.Socket[bytes], domain: str, pair: KeyPair, allowed: Allowed) -> None:
        """Let nobody use a socket, which is not bound yet, but those who are allowed; others can take little of it.

        Args:
            domain: what the socket is called here; the last that is guarded by a name is the one that counts.
            pair: the socket's own.
            allowed: asked from the gate's thread.
        """
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 1000 * HANDSHAKE_SECONDS)
        socket.zap_domain = domain.encode()
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        self._authenticator.configure_curve_callback(domain, _Asked(allowed))

    def close(self) -> None:
        self._authenticator.stop()
