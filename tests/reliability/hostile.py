"""Frames that no client of ours would send: what clients send, and then something is done to it."""

from __future__ import annotations

import os
import random
import struct
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import zmq

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.codec import encode
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import (
    Attach,
    CancelDownload,
    Download,
    Forget,
    Hello,
    Jobs,
    Message,
    Move,
    Ping,
    Shutdown,
    Submit,
)

JOB = str(uuid.UUID(int=7))
TRIANGLE = {"vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32)}
# A preset that nobody has: what happens to come out whole is refused, too.
HONEST: tuple[tuple[Message, dict[str, Any]], ...] = (
    (Hello(*VERSION, "fuzz", "1"), {}),
    (Submit(JOB, "a red mushroom", "nobody's", 1), {"picture": np.zeros(64, np.uint8)}),
    (Submit(JOB, "a red mushroom", "nobody's", 1, first="texture"), TRIANGLE),
    (Attach(JOB), {}),
    (Move(JOB, "front"), {}),
    (Forget(JOB), {}),
    (Jobs(1e9), {}),
    (Download("nobody's"), {}),
    (CancelDownload("nobody's"), {}),
    (Ping(), {}),
    (Shutdown(), {}),
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**31 - 1,
    2**64 - 1,
    -(2**63),
    float("nan"),
    float("inf"),
    "",
    "../../etc/passwd",
    "\x00\n\r\x1b[2J",
    "x" * 5000,
    "é" * 4096,
    b"\xff" * 100,
    [],
    [[]] * 50,
    {},
    {"": {"": {}}},
    msgpack.ExtType(5, b"x" * 10),
    msgpack.Timestamp(2**40, 0),
)
DTYPES = ("float32", "int32", "uint8", "object", "float64", "U8", "V4", "m8[s]", "x" * 100)
HEADERS = (
    b"",
    b"\x80",
    b"\xc1",
    b"\x91" * 100_000,  # lists in lists
    b"\x81\xa1a" * 50_000,  # maps in maps
    b"\xdd\xff\xff\xff\xff",  # a list of four thousand million
    b"\xdf\xff\xff\xff\xff",  # a map of as many
    b"\xdb\xff\xff\xff\xff",  # a text of 4 GB
    b"\xc6\xff\xff\xff\xff",  # bytes, too
    b"\xd9\x02\xff\xfe",  # no UTF-8
    b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94.",  # a pickle
)

Frames = list[bytes]


def hostile(chance: random.Random) -> Frames:
    """The next message of somebody who means no good."""
    message, arrays = chance.choice(HONEST)
    frames = [bytes(frame) for frame in encode(message, arrays)]
    for _ in range(chance.randint(1, 3)):
        frames = chance.choice(DEEDS)(frames, chance)
    return frames


def _flipped(frames: Frames, chance: random.Random) -> Frames:
    return _with_one(frames, chance, lambda frame: _flip(frame, chance))


def _flip(frame: bytes, chance: random.Random) -> bytes:
    changed = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(frames: Frames, chance: random.Random) -> Frames:
    return _with_one(frames, chance, lambda frame: frame[: chance.randint(0, len(frame))])


def _longer(frames: Frames, chance: random.Random) -> Frames:
    return _with_one(frames, chance, lambda frame: frame + chance.randbytes(chance.randint(1, 2000)))


def _noise(frames: Frames, chance: random.Random) -> Frames:
    return _with_one(frames, chance, lambda frame: chance.randbytes(len(frame)))


def _dropped(frames: Frames, chance: random.Random) -> Frames:
    return frames[: chance.randint(0, len(frames) - 1)] or [b""]


def _doubled(frames: Frames, chance: random.Random) -> Frames:
    return frames + [chance.choice(frames)] * chance.choice((1, 2, 9, 200))


def _shuffled(frames: Frames, chance: random.Random) -> Frames:
    return chance.sample(frames, len(frames))


def _other_header(frames: Frames, chance: random.Random) -> Frames:
    return [chance.choice(HEADERS), *frames[1:]]


def _other_field(frames: Frames, chance: random.Random) -> Frames:
    def change(header: dict[Any, Any]) -> None:
        name = chance.choice([*header, "more", 3])
        header[name] = chance.choice(VALUES)

    return _with_header(frames, change)


def _without_field(frames: Frames, chance: random.Random) -> Frames:
    return _with_header(frames, lambda header: header.pop(chance.choice(list(header) or [0]), None))


def _other_array(frames: Frames, chance: random.Random) -> Frames:
    def change(header: dict[Any, Any]) -> None:
        described = header.get("arrays")
        if not isinstance(described, list) or not described or not isinstance(described[0], dict):
            header["arrays"] = [{"name": "vertices", "dtype": "float32", "shape": [2**31 - 1] * 4}]
            return
        one = chance.choice(described)
        which = chance.choice(("name", "dtype", "shape"))
        one[which] = {
            "name": lambda: chance.choice(VALUES),
            "dtype": lambda: chance.choice(DTYPES),
            "shape": lambda: [chance.choice((0, 1, 3, -1, 2**31 - 1, 2**63, 1.5, "3", None))] * chance.randint(0, 5),
        }[which]()

    return _with_header(frames, change)


DEEDS: tuple[Callable[[Frames, random.Random], Frames], ...] = (
    _flipped,
    _cut,
    _longer,
    _noise,
    _dropped,
    _doubled,
    _shuffled,
    _other_header,
    _other_field,
    _other_field,
    _without_field,
    _other_array,
)


def _with_one(frames: Frames, chance: random.Random, change: Callable[[bytes], bytes]) -> Frames:
    which = chance.randrange(len(frames))
    return [change(frame) if i == which else frame for i, frame in enumerate(frames)]


def _with_header(frames: Frames, change: Callable[[dict[Any, Any]], object]) -> Frames:
    """The header changed, if it still is one."""
    try:
        header = msgpack.unpackb(frames[0], strict_map_key=False)
        change(header)
        return [msgpack.packb(header), *frames[1:]]
    except Exception:  # an earlier deed has left no header to change
        return frames


def bare(context: zmq.Context[Any], endpoint: str, server: bytes | None, pair: KeyPair | None) -> zmq.Socket[bytes]:
    """A socket for saying what no client would; without keys it speaks no CURVE."""
    made = context.socket(zmq.DEALER)
    made.linger = 0
    if server is not None and pair is not None:
        made.curve_serverkey, made.curve_publickey, made.curve_secretkey = server, pair.public, pair.secret
    made.connect(endpoint)
    return made


GREETING = b"\xff" + bytes(8) + b"\x7f"


def raw_bytes(chance: random.Random) -> bytes:
    """What somebody says who speaks no CURVE, or only begins to."""
    return chance.choice(
        (
            b"",
            b"GET / HTTP/1.1\r\nHost: backend\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(32),  # TLS
            chance.randbytes(chance.randint(1, 5000)),
            GREETING,
            GREETING + b"\x03\x01NULL" + bytes(48),
            GREETING + b"\x03\x01CURVE" + bytes(47),
            GREETING + b"\x03\x01CURVE" + bytes(47) + b"\x04\xc8\x05HELLO" + chance.randbytes(194),
            GREETING + b"\x03\x01CURVE" + bytes(47) + b"\x06" + struct.pack(">Q", 2**32),  # a command of 4 GB
            GREETING + b"\x03\x01CURVE" + bytes(47) + b"\x02" + struct.pack(">Q", 2**63 - 1),
        )
    )
