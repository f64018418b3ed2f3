"""Who should not get in, or not get far: python tests/reliability/intruders.py

Each of them tries a real backend, on which an honest job runs. It prints what became of them and what the log says; its
status is 1 where one was let in, or did harm, or is not in the log.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq

sys.path.append(str(Path(__file__).resolve().parents[1] / "service"))

from hostile import GREETING, bare
from serving import Backend, is_state, read_until, start_serving, submit, wait_until

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.client import Client, remote_target
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import BACKEND_KINDS, Download, Error, Hello, Jobs, JobState, Message, Submit

JOB = str(uuid.UUID(int=3))
Tried = tuple[str, bool, str]
"""What became of an intruder, whether that is right, and words that the log must have."""
UNKNOWN = "before they said who they are"
ANSWER_SECONDS = 30.0
"""How long a refusal is waited for, while the backend tells of its jobs."""
SERVE = """
from dreamcraft3d import cli
from dreamcraft3d.service import strangers
strangers.TOLD_SECONDS = 0.0
cli.main()
"""
"""The real program, but for a log that has each stranger at once."""


class Watched(Backend):
    def start(self) -> None:
        self.process = start_serving(self.data, program=("-c", SERVE))


@dataclass
class Trial:
    """One backend, and what is needed to try it."""

    backend: Backend
    where: Connection
    context: zmq.Context[zmq.Socket[bytes]]
    enrolled: KeyPair

    # --- strangers ---

    def nothing(self) -> Tried:
        return self._unanswered(None, None, UNKNOWN)

    def wrong_server_key(self) -> Tried:
        return self._unanswered(zmq.curve_keypair()[0], self.enrolled, UNKNOWN)

    def unlisted_key(self) -> Tried:
        return self._unanswered(self.where.server_public_key.encode(), KeyPair(*zmq.curve_keypair()), "not enrolled")

    def plain_tcp(self) -> Tried:
        return self._raw(b"GET / HTTP/1.1\r\n\r\n" * 10)

    def four_gigabytes(self) -> Tried:
        return self._raw(GREETING + b"\x03\x01CURVE" + bytes(47) + b"\x06" + struct.pack(">Q", 2**32) + bytes(10_000))

    # --- clients that mean harm ---

    def path_in_a_name(self) -> Tried:
        return self._told(encode(Submit(JOB, "a red mushroom", "../../keys/server", 1)), "no preset", "no preset")

    def path_as_an_id(self) -> Tried:
        frame = msgpack.packb({"kind": "forget", "job": "../../keys", "arrays": []})
        return self._told([frame], "", "was refused")

    def path_as_a_model(self) -> Tried:
        return self._told(encode(Download("../../keys")), "no model", "no model")

    def corner_that_is_not_there(self) -> Tried:
        mesh = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
        frames = encode(Submit(JOB, "a red mushroom", "tiny", 1, first="texture"), mesh)
        frames[2] = np.array([[0, 1, 2**30]], np.int32).tobytes()
        return self._told(frames, "", "was refused")

    def bomb(self) -> Tried:
        """A picture of 2.5 thousand million pixels in 300 kB fails its job alone."""
        client = self.backend.client()
        job = submit(client, prompt="", arrays={"picture": np.frombuffer(white_png(50_000), np.uint8)})
        letters = read_until(client, lambda m: isinstance(m, JobState) and m.job == job and m.error is not None, 300)
        state, _ = letters[-1]
        assert isinstance(state, JobState)
        assert state.error is not None
        return state.error.sentence, "million pixels" in state.error.sentence, "million pixels"

    def struck_off(self) -> Tried:
        pair = KeyPair(*zmq.curve_keypair())
        keys_of(self.backend.data).enrol(pair.public, "lodger")
        target = remote_target(self.where.endpoint, self.where.server_public_key.encode(), pair)
        client: Client = self.backend.client(target)
        keys_of(self.backend.data).strike("lodger")
        wait_until(lambda: client.receive() is not None and client.state == "refused", 10)
        return client.sentence, "does not know this key" in client.sentence, "lodger is not enrolled"

    # --- how ---

    def _unanswered(self, server: bytes | None, pair: KeyPair | None, logged: str) -> Tried:
        asking = bare(self.context, self.where.endpoint, server, pair)
        for message in (Hello(*VERSION, "intruder", "1"), Jobs()):
            asking.send_multipart(encode(message))
        silent = asking.poll(1500) == 0
        asking.close()
        return "no answer" if silent else "ANSWERED", silent, logged

    def _raw(self, said: bytes) -> Tried:
        host, port = self.where.endpoint.removeprefix("tcp://").split(":")
        answer, closed = b"", False
        with socket.create_connection((host, int(port)), timeout=8) as plain:
            with contextlib.suppress(OSError):
                plain.sendall(said)
            try:
                while part := plain.recv(1000):
                    answer += part
                closed = True
            except TimeoutError:
                pass
            except OSError:
                closed = True
        return (
            f"closed after {len(answer)} bytes of greeting" if closed else "LEFT OPEN",
            closed and len(answer) < 200,
            UNKNOWN,
        )

    def _told(self, frames: list[Any], words: str, logged: str) -> Tried:
        server = self.where.server_public_key.encode()
        asking = bare(self.context, self.where.endpoint, server, self.enrolled)
        asking.send_multipart(encode(Hello(*VERSION, "intruder", "1")))
        asking.send_multipart(frames)
        answer: Message | None = None
        deadline = time.monotonic() + ANSWER_SECONDS
        while not isinstance(answer, Error) and time.monotonic() < deadline and asking.poll(5000):
            answer, _ = decode(asking.recv_multipart(), BACKEND_KINDS)
        asking.close()
        sentence = answer.sentence if isinstance(answer, Error) else "NO ANSWER"
        return sentence, isinstance(answer, Error) and words in sentence, logged


INTRUDERS: dict[str, Callable[[Trial], Tried]] = {
    "no key at all": Trial.nothing,
    "a wrong key of the backend": Trial.wrong_server_key,
    "a key that is not on the list": Trial.unlisted_key,
    "plain TCP": Trial.plain_tcp,
    "a header of 4 GB": Trial.four_gigabytes,
    "a path for a preset": Trial.path_in_a_name,
    "a path for a job's id": Trial.path_as_an_id,
    "a path for a model": Trial.path_as_a_model,
    "a mesh with a corner that is not there": Trial.corner_that_is_not_there,
    "a picture that unpacks to 2.5 gigapixels": Trial.bomb,
    "a key that is struck off meanwhile": Trial.struck_off,
}


def run(folder: Path) -> dict[str, bool]:
    """All of them; whether each was refused and did no harm, and whether the honest job was done."""
    holds = {}
    with trial(folder) as tested:
        client = tested.backend.client()
        honest = submit(client, until="coarse")
        for name, intrude in INTRUDERS.items():
            log = tested.backend.data / "serve.log"
            read = log.stat().st_size
            outcome, right, words = intrude(tested)
            noted = soon(log, read, words)
            alive = tested.backend.process.poll() is None
            holds[name] = right and noted and alive
            mark = "yes" if holds[name] else "NO "
            sys.stdout.write(f"{mark}  {name:<42}{outcome} ({'logged' if noted else 'NOT LOGGED'}: {words})\n")
        read_until(client, is_state(honest, "done"), 300)
        holds["the honest job is done"] = True
    return holds


def white_png(side: int) -> bytes:
    """A square of one bit a pixel, of which no more than a row is ever held."""
    row, packed = b"\0" + b"\xff" * ((side + 7) // 8), zlib.compressobj()
    data = b"".join([packed.compress(row) for _ in range(side)]) + packed.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in parts
    )


def soon(log: Path, read: int, words: str) -> bool:
    """Whether these words come into a log after so many bytes."""
    deadline = time.monotonic() + 3
    while words not in log.read_bytes()[read:].decode():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def trial(folder: Path) -> Iterator[Trial]:
    backend, context = Watched(folder / "data"), zmq.Context()
    try:
        backend.client()
        where = Connection.read(backend.data)
        assert where is not None
        enrolled = KeyPair(*zmq.curve_keypair())
        keys_of(backend.data).enrol(enrolled.public, "guest")
        yield Trial(backend, where, context, enrolled)
    finally:
        context.destroy(linger=0)
        backend.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(0 if all(run(Path(place)).values()) else 1)
