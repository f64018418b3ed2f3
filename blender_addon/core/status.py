# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel says of the backend, and which button mends it: read off the parts of a session, in one place."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Literal

from dreamcraft3d_protocol.client import Client
from dreamcraft3d_protocol.messages import Worker

from ..link.backend_python import Search
from ..link.install import Installation
from .presets import gigabytes

Phase = Literal[
    "searching", "missing", "installing", "off", "starting", "connecting", "ready", "busy", "refused", "lost", "failed"
]
Mend = Literal["", "install_backend", "cancel_install", "start_backend", "restart_backend"]
DEVICES = {"cpu": "Processor", "cuda": "Graphics Card"}


@dataclass(frozen=True)
class Status:
    """How the backend is.

    Attributes:
        phase: for programs.
        title: a word or two.
        sentence: what it means for the artist, or empty.
        mend: the button that helps, or empty.
        factor: how far an installation is, from 0 to 1.
        device: what computes, or empty.
        memory: how much of it is taken, in words, or empty.
    """

    phase: Phase
    title: str
    sentence: str = ""
    mend: Mend = ""
    factor: float = 0.0
    device: str = ""
    memory: str = ""


def status_of(
    client: Client,
    worker: Worker | None,
    search: Search,
    installation: Installation | None,
    process: subprocess.Popen[bytes] | None,
    wanted: bool,
    trouble: str,
    outdated: bool,
    autostart: bool,
) -> Status:
    """The one thing worth saying, of all that is known."""
    if installation is not None:
        return Status("installing", installation.label, installation.said, "cancel_install", installation.factor)
    if client.state == "open":
        return _open(worker)
    if client.state == "refused":
        return Status("refused", "Not Let In", client.sentence, "install_backend" if outdated else "restart_backend")
    if trouble:
        mend: Mend = "start_backend" if search.found is not None else "install_backend"
        return Status("failed", "Does Not Run", trouble, mend)
    if not search.over:
        return Status("searching", "Looking for the Backend")
    if search.found is None:
        needed = "What makes the objects is not here. Install it once; it takes 2 GB, with an NVIDIA card more."
        return Status("missing", "Not Installed", search.sentence or needed, "install_backend")
    if client.state == "lost":
        return Status("lost", "Connection Lost", f"{client.sentence} Trying again.", "restart_backend")
    if process is not None:
        return Status("starting", "Starting", "This takes a few seconds.")
    if wanted:
        return Status("connecting", "Connecting", client.sentence, "restart_backend")
    hint = "It starts when you press Generate." if autostart else "Start it, and then generate."
    return Status("off", "Off", hint, "start_backend")


def _open(worker: Worker | None) -> Status:
    if worker is None:
        return Status("ready", "Ready")
    device = worker.name or DEVICES.get(worker.device, worker.device.upper())
    if worker.state == "failed":
        return Status("failed", "Cannot Compute", worker.sentence, "restart_backend", device=device)
    memory = _memory(worker)
    if worker.state == "busy":
        return Status("busy", "Working", device=device, memory=memory)
    titles = {"ready": "Ready", "starting": "Warming Up", "restarting": "Restarting", "resting": "Resting"}
    return Status("ready", titles[worker.state], worker.sentence, device=device, memory=memory)


def _memory(worker: Worker) -> str:
    """Of a graphics card, what is free; of a processor, what the worker has taken, too."""
    if not worker.memory_bytes:
        return ""
    free = f"{gigabytes(worker.free_bytes)} of {gigabytes(worker.memory_bytes)} free"
    return free if worker.device == "cuda" else f"{gigabytes(worker.used_bytes)} taken, {free}"
