"""Malformed and hostile frames: python tests/reliability/fuzz.py [--frames 100000] [--seed 0]

The decoder alone takes nine of ten. The others go to a real backend, from a client that is enrolled and means no good.
Between them come strangers who speak no CURVE, some of whom stay and say nothing more. Meanwhile an honest client asks, and
an honest job comes to its end. It prints figures; its status is 1 where a claim fails.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import zmq

sys.path.append(str(Path(__file__).resolve().parents[1] / "service"))

from hostile import bare, hostile, raw_bytes
from serving import Backend, is_state, read_until, submit

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.codec import decode, encode
from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import CLIENT_KINDS, Hello, Ping, Pong

SERVER_SHARE = 10
"""One of so many frames goes to the backend."""
CONNECTION = 200
"""Frames that a hostile client sends before it leaves without a word and comes again."""
STRANGER = 20
"""After so many frames, somebody connects who speaks no CURVE."""
LORISES = 50
"""Of those, so many stay, and say nothing more."""
PROBE = 25
SLOWEST_DECODE_SECONDS = 1.0
ANSWER_SECONDS = 1.0
GROWTH_MB = 20.0
"""Of the backend's memory, after a first tenth in which buffers are filled."""

Claims = dict[str, bool]


def decoder(frames: int, chance: random.Random) -> Claims:
    """Whether nothing but ProtocolError comes out of the decoder, soon, and nothing stays."""
    ends: Counter[str] = Counter()
    slowest, process = 0.0, psutil.Process()
    before = 0.0
    for number in range(frames):
        message = hostile(chance)
        started = time.perf_counter()
        try:
            decode(message, CLIENT_KINDS)
            ends["read"] += 1
        except ProtocolError:
            ends["refused"] += 1
        except Exception as error:
            ends[f"{type(error).__name__}: {error}"[:100]] += 1
        slowest = max(slowest, time.perf_counter() - started)
        if number == frames // 10:
            before = _megabytes(process)
    growth = _megabytes(process) - before
    say(f"decoder: {dict(ends)}; slowest {1000 * slowest:.1f} ms; memory {growth:+.1f} MB")
    return {
        "the decoder answers with a sentence or a message": ends.keys() <= {"read", "refused"},
        "the decoder is never slow": slowest < SLOWEST_DECODE_SECONDS,
        "the decoder keeps nothing": growth < GROWTH_MB,
    }


def server(folder: Path, frames: int, chance: random.Random) -> Claims:
    """Whether a backend under attack serves honest clients, keeps its memory and finishes its jobs."""
    backend = Backend(folder / "data")
    try:
        client = backend.client()
        where = Connection.read(backend.data)
        assert where is not None
        honest = submit(client, until="coarse")
        attack = Attack(where, keys_of(backend.data), chance)
        process = psutil.Process(backend.process.pid)
        answers, before = [], 0.0
        for number in range(frames):
            attack.frame()
            if number % STRANGER == 0:
                attack.stranger()
            if number % PROBE == 0:
                answers.append(attack.probe())
            if number == frames // 10:
                before = _megabytes(process)
        growth = _megabytes(process) - before
        attack.close()
        read_until(client, is_state(honest, "done"), 300)
        alive = backend.process.poll() is None
    finally:
        backend.close()
    middle, late = 1000 * np.percentile(answers, [50, 99])
    say(
        f"backend: {frames} frames, {attack.strangers} strangers, of whom {len(attack.lorises)} stayed; "
        f"honest answers p50 {middle:.1f} ms, p99 {late:.1f} ms; memory {growth:+.1f} MB"
    )
    return {
        "the backend lives": alive,
        "an honest client is answered": late < 1000 * ANSWER_SECONDS,
        "the backend's memory is flat": growth < GROWTH_MB,
        "the honest job is done": True,  # or reading for it would have failed
    }


class Attack:
    """Those who mean no good, and one bare socket that asks honestly."""

    def __init__(self, where: Connection, keys: object, chance: random.Random) -> None:
        self.where, self.chance = where, chance
        self.context = zmq.Context()
        self.bad, self.good = (KeyPair(*zmq.curve_keypair()) for _ in range(2))
        for pair, name in ((self.bad, "bad"), (self.good, "good")):
            keys.enrol(pair.public, name)  # type: ignore[attr-defined]
        self.sent, self.strangers = 0, 0
        self.lorises: list[socket.socket] = []
        self.attacker = self.dealer(self.bad)
        self.asking = self.dealer(self.good)
        self.asking.send_multipart(encode(Hello(*VERSION, "good", "1")))

    def dealer(self, pair: KeyPair) -> zmq.Socket[bytes]:
        return bare(self.context, self.where.endpoint, self.where.server_public_key.encode(), pair)

    def frame(self) -> None:
        self.sent += 1
        if self.sent % CONNECTION == 0:
            self.attacker.close()
            self.attacker = self.dealer(self.bad)
            if self.chance.random() < 0.8:
                self.attacker.send_multipart(encode(Hello(*VERSION, "bad", "1")))
        if self.attacker.poll(5000, zmq.POLLOUT):
            self.attacker.send_multipart(hostile(self.chance))
        while self.chance.random() < 0.5 and self.attacker.poll(0):  # and reads half of what it is told
            self.attacker.recv_multipart()

    def stranger(self) -> None:
        self.strangers += 1
        host, port = self.where.endpoint.removeprefix("tcp://").split(":")
        plain = socket.create_connection((host, int(port)), timeout=5)
        with contextlib.suppress(OSError):
            plain.sendall(raw_bytes(self.chance))
        if len(self.lorises) < LORISES:
            self.lorises.append(plain)
        else:
            plain.close()

    def probe(self) -> float:
        """Seconds until an honest question is answered; infinite if it is not."""
        started = time.perf_counter()
        self.asking.send_multipart(encode(Ping()))
        while self.asking.poll(10_000):
            header = self.asking.recv_multipart()[0]
            if Pong.kind.encode() in header[:40]:
                return time.perf_counter() - started
        return float("inf")

    def close(self) -> None:
        for plain in self.lorises:
            plain.close()
        self.context.destroy(linger=0)


def run(folder: Path, frames: int, seed: int) -> Claims:
    """All of it; what was claimed, and whether it holds."""
    chance = random.Random(seed)
    at_server = frames // SERVER_SHARE
    return decoder(frames - at_server, chance) | server(folder, at_server, chance)


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        claims = run(Path(folder), chosen.frames, chosen.seed)
    for claim, holds in claims.items():
        say(f"{'yes' if holds else 'NO ':<4} {claim}")
    sys.exit(0 if all(claims.values()) else 1)


if __name__ == "__main__":
    main()
