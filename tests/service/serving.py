"""A real backend in a process of its own, and real clients."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.client import Client, Target, local_target
from dreamcraft3d_protocol.codec import Received, decode
from dreamcraft3d_protocol.messages import BACKEND_KINDS, JobState, Message, Submit, Worker

TINY = """
base = "draft"
about = "As small as it goes"
[reference]
steps = 6
[coarse]
resolution = 24
picture = 32
samples = 40
density_steps = {density_steps}
sampled_views = 3
sampled_view_steps = 3
fit_steps = 4
[geometry]
resolution = 12
colour_resolution = 16
picture = 48
steps = 4
[texture]
colour_resolution = 24
picture = 48
restored_views = 2
restore_steps = 4
dreambooth_steps = 2
dreambooth_batch = 2
distil_steps = 4
[export]
texture = 256
sheet = 48
"""
LONG_STEPS = 50
"""Of the coarse stage of the preset ``long``: some seconds, in which it can be stopped or killed."""

Letters = list[Received]


class Backend:
    """``dreamcraft3d serve`` on a data folder, and the clients of a test."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.clients: list[Client] = []
        presets = data / "presets"
        presets.mkdir(parents=True, exist_ok=True)
        (presets / "tiny.toml").write_text(TINY.format(density_steps=2))
        (presets / "long.toml").write_text(TINY.format(density_steps=LONG_STEPS))
        self.start()

    def start(self) -> None:
        self.process = start_serving(self.data)

    def client(self, target: Target | None = None, opened: bool = True) -> Client:
        client = Client(target or local_target(self.data), "test", "1")
        self.clients.append(client)
        if opened:
            wait_until(lambda: self._opens(client), told=lambda: self.told(client))
        return client

    def _opens(self, client: Client) -> bool:
        assert self.process.poll() is None, self.told(client)
        client.receive(0)  # one message at a time: what follows the welcome is the test's to read
        return client.state == "open"

    def told(self, client: Client) -> str:
        """What a client and the program say of themselves."""
        return f"{client.state}: {client.sentence}\n{(self.data.parent / 'output.txt').read_text()}"

    def kill(self) -> None:
        """End the supervisor as a power cut would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)

    def worker_pid(self) -> int:
        """Of the worker, once there is one."""
        pid = self.process.pid
        wait_until(lambda: children(pid) != [])
        return children(pid)[0]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.terminate()


def start_serving(data: Path, *options: str, program: tuple[str, ...] = ("-m", "dreamcraft3d.cli")) -> Any:
    """The real program, its words kept in ``output.txt`` beside the data folder."""
    with (data.parent / "output.txt").open("ab") as output:
        command = [sys.executable, *program, "serve", "--data", str(data), *options]
        return subprocess.Popen(command, stdout=output, stderr=output)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until(happened: Callable[[], bool], seconds: float = 60, told: Callable[[], str] = str) -> None:
    """``told`` is asked for what to say when time is up."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, told()
        time.sleep(0.01)


def submit(client: Client, prompt: str = "a red mushroom", arrays: Arrays | None = None, **asked: Any) -> str:
    """A new job's id."""
    job = str(uuid.uuid4())
    client.send(Submit(**{"job": job, "prompt": prompt, "preset": "tiny", "seed": 1} | asked), arrays)
    return job


def read_until(client: Client, wanted: Callable[[Message], bool], seconds: float = 120) -> Letters:
    """Everything a client receives up to a message that is wanted, which is the last."""
    letters: Letters = []

    def came() -> bool:
        letters.extend(client.receive())
        return any(wanted(message) for message, _ in letters)

    wait_until(came, seconds)
    end = next(i for i, (message, _) in enumerate(letters) if wanted(message))
    return letters[: end + 1]


def said(bare: Any, wanted: type[Message]) -> Any:
    """The next message of a kind that a bare socket gets."""
    while True:
        assert bare.poll(5000), f"no {wanted.__name__} came"
        message, _ = decode(bare.recv_multipart(), BACKEND_KINDS)
        if isinstance(message, wanted):
            return message


def is_state(job: str, state: str, **more: Any) -> Callable[[Message], bool]:
    def wanted(message: Message) -> bool:
        if not isinstance(message, JobState) or message.job != job:
            return False
        assert message.state == state or message.state != "failed", message.error
        return message.state == state and all(getattr(message, k) == v for k, v in more.items())

    return wanted


def has_begun(job: str, stage: str, step: int = 1) -> Callable[[Message], bool]:
    return lambda m: isinstance(m, JobState) and m.job == job and m.stage == stage and m.step >= step


def is_worker(state: str) -> Callable[[Message], bool]:
    return lambda m: isinstance(m, Worker) and m.state == state


posix = pytest.mark.skipif(os.name != "posix" or not Path("/proc").is_dir(), reason="looks at processes in /proc")
