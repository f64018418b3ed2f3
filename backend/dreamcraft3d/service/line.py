"""The worker's end of its connection: a thread that beats, listens and sends, while the process computes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

import zmq

from dreamcraft3d.service.worker_messages import TO_WORKER, Beat, Progress, Run, Stop
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.mailbox import Mailbox, supersedes
from dreamcraft3d_protocol.messages import Advance, Message

log = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
TICK_MILLISECONDS = 20
IN_FLIGHT = 4


class Line(threading.Thread):
    """Connected to the supervisor; :meth:`tell`, :meth:`next_order`, :meth:`wants_stop` and :meth:`wants_next` are for the
    other thread.

    Args:
        endpoint: where the supervisor listens.
        server: its public key.
        public, secret: the worker's own pair.

    Attributes:
        beat: what to say as a sign of life.
    """

    def __init__(self, endpoint: str, server: bytes, public: bytes, secret: bytes) -> None:
        super().__init__(name="line", daemon=True)
        self._endpoint, self._keys = endpoint, (server, public, secret)
        self._orders: queue.Queue[Run] = queue.Queue()
        self.beat: Callable[[], Beat] = Beat
        self._stops: set[str] = set()
        self._advances: set[tuple[str, str]] = set()
        self._outbox, self._lock = Mailbox(_needless), threading.Lock()

    def tell(self, message: Message, arrays: Arrays) -> None:
        """Send soon; a preview or mere progress may be dropped for newer."""
        with self._lock:
            self._outbox.put(message, arrays)

    def next_order(self) -> Run:
        """Block until there is something to do."""
        return self._orders.get()

    def wants_stop(self, job: str) -> bool:
        return job in self._stops

    def wants_next(self, job: str, stage: str) -> bool:
        """Whether a stage of a job shall end before its steps are done."""
        return (job, stage) in self._advances

    def run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.PAIR)
        socket.setsockopt(zmq.SNDHWM, IN_FLIGHT)
        socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = self._keys
        socket.connect(self._endpoint)
        beat_at = 0.0
        while True:
            while socket.poll(TICK_MILLISECONDS):
                message, _ = decode(socket.recv_multipart(), TO_WORKER)
                if isinstance(message, Run):
                    self._stops.discard(message.job)
                    self._advances = {(message.job, stage) for stage in message.advanced}
                    self._orders.put(message)
                elif isinstance(message, Stop):
                    self._stops.add(message.job)
                elif isinstance(message, Advance):
                    self._advances.add((message.job, message.stage))
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT_SECONDS
                self.tell(self.beat(), {})
            self._send(socket)

    def _send(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            with self._lock:
                if not len(self._outbox):
                    return
                message, arrays = self._outbox.take()
            try:
                socket.send_multipart(encode(message, arrays), copy=False)
            except ProtocolError:  # such as a preview of a shape that has become infinite
                log.exception("a message was not sent")


def _needless(new: Message, old: Message) -> bool:
    """Whether the supervisor needs no ``old`` that is going to read ``new``."""
    if isinstance(new, Progress) and isinstance(old, Progress):
        return new.stage == old.stage and not old.sentence
    return supersedes(new, old)
