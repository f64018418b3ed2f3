"""A backend that does what a test tells it to, with real sockets and keys, and letters for it to send."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import numpy as np
import zmq
from blender_addon.core.studio import Studio
from launcher import wait_until
from zmq.auth.thread import ThreadAuthenticator

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received, decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.messages import (
    CLIENT_KINDS,
    Hello,
    JobState,
    Message,
    ModelList,
    Models,
    Ping,
    Pong,
    Preview,
    Result,
    State,
    Subject,
    Submit,
    Welcome,
    Worker,
)

WELCOME = Welcome(*VERSION, "0.1.0", str(uuid.UUID(int=7)), ())
NO_MODELS = ModelList((), "/models", 1.0)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1]], np.float32)
COLOURS = np.full((4, 3), 0.5, np.float32)


def job_state(job: str, state: State = "running", **changes: object) -> JobState:
    values = {"stage": "coarse", "stage_index": 1, "stage_count": 4, "step": 5, "steps": 10, "eta_seconds": 42.0}
    values |= {"name": "Mushroom", "prompt": "a mushroom", "preset": "draft", "seed": 1, "seconds": 3.0}
    values |= {"sentence": "", "error": None, "created": 1.0}
    return JobState(job=job, state=state, **(values | changes))  # type: ignore[arg-type]


def mesh_preview(job: str, seq: int, topology: str = "t") -> Received:
    arrays = {"vertices": VERTICES, "faces": FACES, "colours": COLOURS}
    return Preview(job, seq, "coarse", "mesh", topology, None), arrays


def colour_preview(job: str, seq: int, base: str = "t", value: float = 0.9) -> Received:
    return Preview(job, seq, "texture", "colours", base, base), {"colours": np.full((4, 3), value, np.float32)}


def picture_preview(job: str, seq: int, subject: Subject, value: int, caption: str = "") -> Received:
    picture = Preview(job, seq, "texture", "picture", "", None, subject, caption)
    return picture, {"picture": np.full((4, 8, 3), value, np.uint8)}


def result(job: str) -> Received:
    arrays = {"vertices": VERTICES, "faces": FACES, "uv": np.zeros((6, 2), np.float32)}
    return Result(job, {}), arrays | {"texture": np.ones(8, np.uint8), "glb": np.ones(8, np.uint8)}


class ScriptedBackend:
    """A ROUTER with CURVE on a data folder.

    Attributes:
        arrays: those that came with the last submission.
    """

    def __init__(self, data: Path) -> None:
        keys = keys_of(data)
        pair = keys.server_pair()
        keys.client_pair()
        self.data, self.heard, self.clients = data, list[Message](), set[bytes]()
        self.arrays: Arrays = {}
        self.context = zmq.Context()
        self.gate = ThreadAuthenticator(self.context)
        self.gate.start()
        self.gate.configure_curve(domain="*", location=str(keys.path / "clients"))
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = pair.public, pair.secret
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        Connection(f"tcp://127.0.0.1:{port}", pair.public.decode(), 2**22 + 7, *VERSION, "0.1.0").publish(data)

    def serve(self) -> list[Message]:
        """Answer hellos, pings and the question for models; returns all else that was heard so far."""
        while self.socket.poll(0):
            who, *frames = self.socket.recv_multipart()
            message, arrays = decode(frames, CLIENT_KINDS)
            if isinstance(message, Submit):
                self.arrays = arrays
            if isinstance(message, Hello):
                self.clients.add(who)
                self.tell(who, WELCOME, Worker("ready", "cpu", ""))
            elif isinstance(message, Ping):
                self.tell(who, Pong())
            elif isinstance(message, Models):
                self.tell(who, NO_MODELS)
            else:
                self.hear(who, message)
        return self.heard

    def hear(self, who: bytes, message: Message) -> None:
        self.heard.append(message)

    def say(self, *messages: Message | Received) -> None:
        """To everybody."""
        for who in self.clients:
            self.tell(who, *messages)

    def tell(self, who: bytes, *messages: Message | Received) -> None:
        for message in messages:
            frames = encode(*message) if isinstance(message, tuple) else encode(message)
            self.socket.send_multipart([who, *frames])

    def close(self) -> None:
        self.gate.stop()
        self.context.destroy(linger=0)


def hear(studio: Studio, backend: ScriptedBackend, kind: type[Message]) -> Message:
    """The next message of a kind that the backend hears."""
    wait_until(lambda: studio.tick(0.01) >= 0 and any(isinstance(m, kind) for m in backend.serve()))
    found = next(m for m in backend.heard if isinstance(m, kind))
    backend.heard.remove(found)
    return found


def settle(studio: Studio) -> None:
    """Until nothing more comes."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < 0.15:
        if studio.tick(0.01):
            quiet = time.monotonic()
