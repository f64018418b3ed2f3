"""The clients' side: one ROUTER with CURVE, a session and a queue for each client, and nothing that blocks or grows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import zmq

from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.strangers import Knocks, Strangers
from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Frame, decode, encode
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyFolder
from dreamcraft3d_protocol.mailbox import Mailbox
from dreamcraft3d_protocol.messages import CLIENT_KINDS, Error, Hello, Message, ModelList, Ping, Pong, Refused, Result

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
MAX_WAITING = 1000
"""Messages that may wait for a client; one that is slower is forgotten, and says hello again when it wakes."""
RECEIVE_SECONDS = 0.05
"""For how long clients are listened to, if many speak, before others have their turn."""
GONE_SECONDS = 60.0
"""Of silence, after which it is found out whether a client is still connected: what it sends may take longer to arrive."""
KEEPALIVE = {zmq.TCP_KEEPALIVE: 1, zmq.TCP_KEEPALIVE_IDLE: 60, zmq.TCP_KEEPALIVE_INTVL: 15, zmq.TCP_KEEPALIVE_CNT: 4}
"""By which the system finds out that a machine is gone, after two minutes."""
STRUCK_SECONDS = 1.0
"""How often it is looked whether those who are connected are still enrolled."""
IN_FLIGHT = 4
"""Messages that ZeroMQ holds of a client, and for it: the fewer, the newer the previews, and the less a flood can take."""


@dataclass
class Session:
    """A client whose handshake is done.

    Attributes:
        key: its public key, in Z85, with which every message of it must come.
        name: under which its key is enrolled.
        local: it has the key of this machine.
        attached: jobs whose previews and results it wants.
        models: whether it wants the list of models at each change.
        heard_at: when it was heard last, or tried.
        next: the message that goes to it next, and its frames, so that those are made once however long it has no room.
    """

    identity: bytes
    key: bytes
    name: str
    local: bool
    minor: int
    heard_at: float
    attached: set[str] = field(default_factory=set)
    models: bool = False
    mailbox: Mailbox = field(default_factory=Mailbox)
    next: tuple[Message, list[Frame]] | None = None


Heard = tuple[Session, Message, Arrays]


class Clients:
    """Everybody who is connected.

    Args:
        keys: the backend's pair, and who may connect.
        port: 0 for a free one.
        address: the IPv4 address to listen at.

    Raises:
        ProtocolError: a key cannot be used.
        zmq.ZMQError: the port is taken, or the address is not this machine's.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        gate: Gate,
        keys: KeyFolder,
        port: int,
        address: str = LOOPBACK,
    ) -> None:
        pair = keys.server_pair()
        self._keys = keys
        self._local_key = keys.client_pair().public
        self._enrolled = keys.enrolled()
        self._unread = Knocks("the keys could not be read %d times: %s")
        socket = context.socket(zmq.ROUTER)
        socket.linger = 500
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.SNDHWM, IN_FLIGHT)
        socket.setsockopt(zmq.RCVHWM, IN_FLIGHT)
        for option, value in KEEPALIVE.items():
            socket.setsockopt(option, value)
        gate.guard(socket, "clients", pair, lambda key: key in self._who_may())
        self.strangers = Strangers(context, socket)
        socket.bind(f"tcp://{address}:{port or '*'}")
        self.socket = socket
        # Clients of this machine cannot connect to "any address" on every system.
        self.endpoint = str(socket.getsockopt_string(zmq.LAST_ENDPOINT)).replace("//0.0.0.0:", f"//{LOOPBACK}:")
        self.public_key = pair.public.decode()
        self.sessions: dict[bytes, Session] = {}
        self._looked_at = 0.0

    def receive(self) -> Iterator[Heard]:
        """What came, for some time; pings, hellos of other versions and what cannot be read are answered here."""
        deadline = time.monotonic() + RECEIVE_SECONDS
        while time.monotonic() < deadline:
            try:
                identity, *frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            letter = self._read(bytes(identity.buffer), frames)
            if letter is not None:
                yield letter

    def tell(self, session: Session, message: Message, arrays: Arrays | None = None) -> None:
        """Queue a message for one client."""
        session.mailbox.put(message, arrays or {})
        if len(session.mailbox) > MAX_WAITING:
            log.warning("%s reads too slowly and is forgotten", session.name)
            self.sessions.pop(session.identity, None)

    def tell_all(self, message: Message) -> None:
        for session in list(self.sessions.values()):
            self.tell(session, message)

    def tell_of_models(self, message: ModelList) -> None:
        for session in list(self.sessions.values()):
            if session.models:
                self.tell(session, message)

    def tell_attached(self, job: str, message: Message, arrays: Arrays) -> None:
        for session in list(self.sessions.values()):
            if job in session.attached:
                self.tell(session, message, arrays)

    def flush(self) -> bool:
        """Send what can be sent without waiting; returns whether something is left."""
        left = False
        made: dict[int, tuple[Message, list[Frame]]] = {}  # what many are told is made once
        for session in list(self.sessions.values()):
            while len(session.mailbox):
                message, arrays = session.mailbox.look()
                try:
                    if session.next is None or session.next[0] is not message:
                        if id(message) not in made:
                            made[id(message)] = message, encode(message, arrays)
                        session.next = made[id(message)]
                    self._send(session.identity, session.next[1])
                except zmq.Again:
                    left = True
                    break
                except ProtocolError as error:  # it costs this message alone
                    log.error("a message was dropped: %s", error)
                    if isinstance(message, Result):
                        lost = "The result of this job cannot be sent: it is too large, or damaged."
                        hint = "Look for object.glb in the job's folder, where the backend is."
                        self.tell(session, Error("lost", lost, hint, "", message.job))
                except zmq.ZMQError:  # it is not connected any more
                    log.info("%s is gone", session.name)
                    self.sessions.pop(session.identity, None)
                    break
                session.mailbox.take()
                session.next = None
        return left

    def look_after(self) -> None:
        """What is to be done every now and then, after what came was received."""
        self.strangers.tick()
        self._forget_struck()
        self._try_silent()

    def close(self) -> None:
        self.flush()
        self.socket.close()

    def _who_may(self) -> dict[bytes, str]:
        """Who may connect, by key; while that cannot be read, who might when it last could."""
        try:
            self._enrolled = self._keys.enrolled()
        except ProtocolError as error:
            self._unread.add(str(error))
        return self._enrolled

    def _forget_struck(self) -> None:
        """Drop the sessions of clients whose keys are enrolled no longer, and tell them."""
        now = time.monotonic()
        if now - self._looked_at < STRUCK_SECONDS:
            return
        self._looked_at = now
        enrolled = self._who_may()
        for session in list(self.sessions.values()):
            if session.key not in enrolled:
                log.warning("the key of %s is not enrolled any more", session.name)
                del self.sessions[session.identity]
                self._refuse_key(session.identity)

    def _try_silent(self) -> None:
        """Say something to clients that went without a word, at which :meth:`flush` drops those who are gone.

        Who has not read what it was told before is forgotten: it is stopped, perhaps for ever.
        """
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if now - session.heard_at <= GONE_SECONDS:
                continue
            session.heard_at = now
            if len(session.mailbox):
                log.info("%s neither speaks nor reads and is forgotten", session.name)
                del self.sessions[session.identity]
            else:
                self.tell(session, Pong())

    def _send(self, identity: bytes, frames: list[Frame]) -> None:
        self.socket.send_multipart([identity, *frames], zmq.NOBLOCK, copy=False)

    def _read(self, identity: bytes, frames: list[zmq.Frame]) -> Heard | None:
        self.strangers.known(int(frames[0].get(zmq.SRCFD)))
        session = self.sessions.get(identity)
        if session is not None and session.key != _key(
            frames[0]
        ):  # somebody else has taken the name of this connection
            del self.sessions[identity]
            session = None
        try:
            message, arrays = decode(frames, CLIENT_KINDS, 0 if session is None else session.minor)
        except ProtocolError as error:
            log.warning("a message of %s was refused: %s", "nobody" if session is None else session.name, error)
            if session is None:
                self._refuse(identity, "protocol", str(error), "Update the client.")
            else:
                self.tell(session, Error("protocol", str(error), "Update the client, or the backend."))
            return None
        if isinstance(message, Hello):
            session = self._greet(identity, message, frames[0])
        elif session is None:
            self._refuse(identity, "hello", "The first message must be a hello.", "Connect again.")
        if session is None:
            return None
        session.heard_at = time.monotonic()
        if isinstance(message, Ping):
            self.tell(session, Pong())
            return None
        return session, message, arrays

    def _greet(self, identity: bytes, hello: Hello, frame: zmq.Frame) -> Session | None:
        if hello.major != VERSION[0]:
            older, code = ("client", "client_version") if hello.major < VERSION[0] else ("backend", "version")
            versions = f"The client speaks version {hello.major} of the protocol, the backend {VERSION[0]}."
            self._refuse(identity, code, versions, f"Update the {older}.")
            return None
        key = _key(frame)
        name = self._who_may().get(key)
        if name is None:  # it was let in, and struck since
            log.warning("a client whose key is not enrolled any more says hello")
            self._refuse_key(identity)
            return None
        log.info("%s says hello: %r %r", name, hello.client, hello.version)
        session = Session(identity, key, name, key == self._local_key, hello.minor, time.monotonic())
        self.sessions[identity] = session
        return session

    def _refuse_key(self, identity: bytes) -> None:
        self._refuse(identity, "key", "The backend does not know this key any more.", "Have it enrolled again there.")

    def _refuse(self, identity: bytes, code: str, sentence: str, hint: str) -> None:
        try:
            self._send(identity, encode(Refused(code, sentence, hint)))
        except zmq.ZMQError:
            log.info("a refusal could not be delivered")


def _key(frame: zmq.Frame) -> bytes:
    """The key that the connection of a frame has proved to have."""
    return str(frame.get("User-Id")).encode()
