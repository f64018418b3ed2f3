"""Whoever computes: the seam behind which there is one local worker process today."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, Protocol

import zmq

from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.worker_messages import FROM_WORKER, Beat, Died, Ready, Run, Stop
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received, decode, encode
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import Advance, Message, Worker

log = logging.getLogger(__name__)

SILENCE_SECONDS = 30.0
START_SECONDS = 300.0
"""What loading libraries and models may take before the first word."""
FIRST_BACK_OFF = 0.5
LONGEST_BACK_OFF = 30.0
STARTS_BEFORE_FAILED = 4
GAUGE_SECONDS = 5.0
"""Between two readings of the memory that are told."""
PROGRAM = ("-P", "-m", "dreamcraft3d.service.worker")
"""What Python is to run as the worker."""
LOADING = "The models are being loaded."

WorkerState = Literal["starting", "ready", "busy", "restarting", "resting", "failed"]


class Engine(Protocol):
    """Does one job at a time. Nothing here blocks but :meth:`close`."""

    @property
    def told(self) -> Worker:
        """How it is, as clients are told."""
        ...

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """Readable when :meth:`tick` has something new; may change between calls."""
        ...

    def tick(self) -> list[Received]:
        """What happened: ``Progress``, ``Preview``, ``Done``, ``Stopped``, ``Failed`` or ``Died`` of the job it has."""
        ...

    def run(self, job: str, advanced: tuple[str, ...]) -> None:
        """Do a job, or go on with it, ending these stages early; only when its state is ``ready``."""
        ...

    def advance(self, job: str, stage: str) -> None:
        """Ask for the end of a stage before its steps are done."""
        ...

    def stop(self, job: str) -> None:
        """Ask for a checkpoint and an end; answered by ``Stopped``, or by ``Done`` if it was too late."""
        ...

    def rest(self) -> None:
        """Hold no memory until it is woken; only when it has no job."""
        ...

    def wake(self) -> None:
        """Try again now if it has failed, and come back if it rests."""
        ...

    def close(self) -> None:
        """End it; a job that it has is lost back to its checkpoint."""
        ...


class LocalWorker:
    """A child process of this one (see ``worker.py``), started again when it dies or falls silent."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], gate: Gate, data: DataFolder, silence: float = SILENCE_SECONDS
    ) -> None:
        """
        Args:
            silence: seconds without a word after which a worker that was ready is killed.
        """
        self._context, self._gate, self._data, self._silence = context, gate, data, silence
        self._process: subprocess.Popen[bytes] | None = None
        self.socket: zmq.Socket[bytes] | None = None
        self._job: str | None = None
        self._device, self._name = "", ""
        self._memory, self._gauged_at = Beat(), 0.0
        self._heard_at = 0.0
        self._failures = 0
        self._start_at = 0.0
        self._state: WorkerState = "starting"
        self._sentence = LOADING

    @property
    def told(self) -> Worker:
        memory = self._memory
        return Worker(
            self._state,
            self._device,
            self._sentence,
            self._name,
            memory.memory_bytes,
            memory.free_bytes,
            memory.used_bytes,
        )

    def tick(self) -> list[Received]:
        if self._process is None:
            if self._state not in ("failed", "resting") and time.monotonic() >= self._start_at:
                try:
                    self._start()
                except OSError as error:
                    self._bury(f"The system would not start it: {error.strerror}.")
            return []
        happened = self._listen()
        code = self._process.poll()
        if code is None:
            patience = START_SECONDS if self._state in ("starting", "restarting") else self._silence
            if time.monotonic() - self._heard_at <= patience:
                return happened
            log.error("the worker was silent for %.0f s and is killed", patience)
            self._process.kill()
            self._process.wait()
            ended = "It gave no sign of life and was ended."
        else:
            happened += self._listen()
            ended = _ended(code)
        died = self._job
        self._bury(ended)
        if died is not None:
            happened.append((Died(died, ended), {}))
        return happened

    def run(self, job: str, advanced: tuple[str, ...]) -> None:
        self._job = job
        self._state, self._sentence = "busy", ""
        self._say(Run(job, str(self._data.job(job)), str(self._data.artefacts), advanced))

    def advance(self, job: str, stage: str) -> None:
        self._say(Advance(job, stage))

    def stop(self, job: str) -> None:
        self._say(Stop(job))

    def rest(self) -> None:
        if self._state in ("resting", "failed") or self._job is not None:
            return
        if self._process is not None:  # which has nothing to lose
            self._process.kill()
            self._process.wait()
        self._close_socket()
        self._process, self._memory = None, Beat()
        self._state, self._sentence = "resting", "Its memory is free for others. It starts again with the next job."
        log.info("the worker rests")

    def wake(self) -> None:
        if self._state in ("failed", "resting"):
            self._state = "restarting" if self._state == "failed" else "starting"
            self._sentence, self._failures, self._start_at = LOADING, 0, 0.0

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()  # at which it ends itself
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._close_socket()
        self._process = None

    def _start(self) -> None:
        """Give a new process a socket of its own, with keys that live as long as it."""
        server, worker = zmq.curve_keypair(), zmq.curve_keypair()
        socket = self._context.socket(zmq.PAIR)
        socket.linger = 0
        socket.zap_domain = b"worker"
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = server
        self._gate.allow("worker", lambda key: key == worker[0])
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        self.socket = socket
        greeting = {
            "endpoint": f"tcp://127.0.0.1:{port}",
            "server": server[0].decode(),
            "public": worker[0].decode(),
            "secret": worker[1].decode(),
            "data": str(self._data.path),
        }
        command = [sys.executable, *PROGRAM]
        with (self._data.path / "worker.out").open("wb") as output:  # for what is not logged: a crash's own words
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # whose priority it lowers
                creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0),
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(greeting).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            log.error("the worker ended before it was greeted")
        self._heard_at = time.monotonic()
        log.info("worker %d starts", self._process.pid)

    def _listen(self) -> list[Received]:
        happened: list[Received] = []
        while self.socket is not None:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self._heard_at = time.monotonic()
            try:
                message, arrays = decode(frames, FROM_WORKER)
            except ProtocolError as error:
                log.error("a message of the worker was dropped: %s", error)
                continue
            if isinstance(message, Ready):
                self._state, self._sentence, self._failures = "ready", "", 0
                self._device, self._name = message.device, message.name
            elif isinstance(message, Beat):
                self._gauged(message)
            else:
                happened.append(self._noted(message, arrays))
        return happened

    def _gauged(self, memory: Beat) -> None:
        if memory.memory_bytes and time.monotonic() - self._gauged_at > GAUGE_SECONDS:
            self._memory, self._gauged_at = memory, time.monotonic()

    def _noted(self, message: Message, arrays: Arrays) -> Received:
        if message.kind in ("done", "stopped", "failed"):
            self._job = None
            self._state = "ready"
        return message, arrays

    def _bury(self, ended: str) -> None:
        if self._state in ("starting", "restarting"):
            self._failures += 1
        back_off = min(FIRST_BACK_OFF * 2**self._failures, LONGEST_BACK_OFF)
        self._start_at = time.monotonic() + back_off
        self._process, self._job = None, None
        self._close_socket()
        if self._failures >= STARTS_BEFORE_FAILED:
            where = self._data.path / "worker.out"
            self._state, self._sentence = "failed", f"The worker cannot be started. {ended} {where} says more."
        else:
            self._state, self._sentence = "restarting", f"The worker is started again. {ended}"
        log.error("the worker died: %s", ended)

    def _close_socket(self) -> None:
        if self.socket is not None:
            self.socket.close(linger=0)
        self.socket = None

    def _say(self, message: Message) -> None:
        if self.socket is None:
            return
        try:
            self.socket.send_multipart(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            log.error("the worker does not listen")


def _ended(code: int) -> str:
    if code >= 0:
        return f"It ended by itself with status {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    memory = ", perhaps because memory ran out" if name == "SIGKILL" else ""
    return f"It was ended by {name}{memory}."


def headway(run: Path) -> str:
    """What a job's checkpoints look like: the same after two deaths means that nothing was gained between them."""
    files = sorted([*run.glob("*.safetensors"), *run.glob("checkpoint.pt")])
    return " ".join(f"{f.name}:{f.stat().st_mtime_ns}" for f in files)
