"""Whoever computes: the seam behind which there is one local worker process today."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, Protocol

import psutil
import zmq

from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.pulse import HUNG_SECONDS, Pulse
from dreamcraft3d.service.worker_messages import FROM_WORKER, Beat, Died, Ready, Run, Stop
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received, decode, encode
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.keys import KeyPair
from dreamcraft3d_protocol.messages import Advance, Message, Worker

log = logging.getLogger(__name__)

FIRST_BACK_OFF = 0.5
"""Seconds before a worker that died is started again; twice as long after each that did not come to its first word."""
STARTS_BEFORE_FAILED = 4
FAILED_BACK_OFF = 300.0
"""Then it is tried again now and then: what is missing may come back, such as a graphics driver."""
GAUGE_SECONDS = 5.0
"""Between two readings of the memory that are told."""
PROGRAM = ("-P", "-m", "dreamcraft3d.service.worker")
"""What Python is to run as the worker."""
LOADING = "The models are being loaded."
KILL_SECONDS = 5.0
"""What the system may take to end a process that is killed; one that waits for a broken disk may stay longer."""

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

    def run(self, job: str, begun: int, advanced: tuple[str, ...]) -> None:
        """Do a job, or go on with it for the ``begun``-th time, ending these stages early; only when it is ``ready``."""
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
        self, context: zmq.Context[zmq.Socket[bytes]], gate: Gate, data: DataFolder, hung: float = HUNG_SECONDS
    ) -> None:
        """
        Args:
            hung: seconds without a word after which a worker that does nothing is killed (see :class:`Pulse`).
        """
        self._context, self._gate, self._data, self._hung = context, gate, data, hung
        self._command = [sys.executable, *PROGRAM, str(data.path)]
        _end_orphans(self._command[1:])
        self._process: subprocess.Popen[bytes] | None = None
        self._pulse: Pulse | None = None
        self._killed = ""
        self.socket: zmq.Socket[bytes] | None = None
        self._job: str | None = None
        self._device, self._name = "", ""
        self._memory, self._gauged_at = Beat(), 0.0
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
            if self._state != "resting" and time.monotonic() >= self._start_at:
                try:
                    self._start()
                except (OSError, zmq.ZMQError) as error:
                    self._bury(f"The system would not start it: {error.strerror}.")
            return []
        happened = self._listen()
        code = self._process.poll()
        if code is None:
            if not self._killed and self._pulse is not None and self._pulse.lost():
                log.error("the worker was silent for %.0f s and is killed", self._pulse.silent)
                self._killed = "It gave no sign of life and was ended."
                self._process.kill()
            return happened
        happened += self._listen()
        ended = self._killed or _ended(code)
        died = self._job
        self._bury(ended)
        if died is not None:
            happened.append((Died(died, ended), {}))
        return happened

    def run(self, job: str, begun: int, advanced: tuple[str, ...]) -> None:
        self._job = job
        self._state, self._sentence = "busy", ""
        self._say(Run(job, str(self._data.job(job)), str(self._data.artefacts), begun, advanced))

    def advance(self, job: str, stage: str) -> None:
        self._say(Advance(job, stage))

    def stop(self, job: str) -> None:
        self._say(Stop(job))

    def rest(self) -> None:
        if self._state in ("resting", "failed") or self._job is not None:
            return
        if self._process is not None:  # which has nothing to lose
            self._kill()
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
                self._kill()
        self._close_socket()
        self._process = None

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=KILL_SECONDS)

    def _start(self) -> None:
        """Give a new process a socket of its own, with keys that live as long as it."""
        server, worker = KeyPair(*zmq.curve_keypair()), KeyPair(*zmq.curve_keypair())
        socket = self._context.socket(zmq.PAIR)
        socket.linger = 0
        self._gate.guard(socket, "worker", server, lambda key: key == worker.public)
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        self.socket = socket
        greeting = {
            "endpoint": f"tcp://127.0.0.1:{port}",
            "server": server.public.decode(),
            "public": worker.public.decode(),
            "secret": worker.secret.decode(),
        }
        with (self._data.path / "worker.out").open("wb") as output:  # for what is not logged: a crash's own words
            self._process = subprocess.Popen(
                self._command,
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
        self._pulse, self._killed = Pulse(self._process.pid, self._hung), ""
        log.info("worker %d starts", self._process.pid)

    def _listen(self) -> list[Received]:
        happened: list[Received] = []
        while self.socket is not None:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            if self._pulse is not None:
                self._pulse.heard()
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
        self._process, self._job, self._pulse = None, None, None
        self._close_socket()
        if self._failures >= STARTS_BEFORE_FAILED:
            where = self._data.path / "worker.out"
            self._start_at = time.monotonic() + FAILED_BACK_OFF
            self._state = "failed"
            self._sentence = f"The worker cannot be started, and is tried again later. {ended} {where} says more."
        else:
            self._start_at = time.monotonic() + FIRST_BACK_OFF * 2**self._failures
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
    if name == "SIGKILL":
        return "It was ended by SIGKILL, perhaps because memory ran out."
    return f"It was ended by {name}."


def _end_orphans(command: list[str]) -> None:
    """End the workers of a supervisor that is no more. They do so themselves, but not while they hang or are stopped."""
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[1:] == command:
            log.warning("the worker %d of an earlier supervisor is still there and is ended", process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(KILL_SECONDS)


def headway(run: Path) -> str:
    """What a job's checkpoints look like: the same after two deaths means that nothing was gained between them."""
    with contextlib.suppress(OSError):
        files = sorted([*run.glob("*.safetensors"), *run.glob("checkpoint.pt")])
        return " ".join(f"{f.name}:{f.stat().st_mtime_ns}" for f in files)
    return ""  # which counts as none
