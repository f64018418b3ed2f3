# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel says of the backend, and which button mends it: read off the parts of a session, in one place."""

from __future__ import annotations

import dataclasses
import subprocess
from dataclasses import dataclass
from typing import Literal

from dreamcraft3d_protocol.client import Client
from dreamcraft3d_protocol.messages import Worker

from ..link.backend_python import Search
from ..link.install import Installation
from .presets import gigabytes
from .remote import Remote

Phase = Literal[
    "searching", "missing", "installing", "off", "starting", "connecting", "ready", "busy", "stopping", "refused", "lost",
    "failed", "offline",
]  # fmt: skip
Mend = Literal[
    "", "install_backend", "update_backend", "cancel_install", "start_backend", "restart_backend", "reconnect", "copy_key",
    "open_preferences", "open_network", "open_extensions",
]  # fmt: skip
DEVICES = {"cpu": "Processor", "cuda": "Graphics Card"}
OLDER_ADDON = (
    "This add-on is older than the backend. Install its newer zip in Preferences, Get Extensions, Install from Disk."
)


@dataclass(frozen=True)
class Status:
    """How the backend is.

    Attributes:
        phase: for programs.
        title: a word or two.
        sentence: what it means for the artist, or empty.
        mend: the button that helps, or empty.
        again: the button that tries again once it has helped elsewhere, or empty.
        factor: how far an installation is, from 0 to 1.
        device: what computes, or empty.
        memory: how much of it is taken, in words, or empty.
        host: the other machine that the backend is on, or empty.
    """

    phase: Phase
    title: str
    sentence: str = ""
    mend: Mend = ""
    again: Mend = ""
    factor: float = 0.0
    device: str = ""
    memory: str = ""
    host: str = ""


def status_of(
    client: Client,
    worker: Worker | None,
    search: Search,
    installation: Installation | None,
    process: subprocess.Popen[bytes] | None,
    wanted: bool,
    trouble: str,
    ending: bool,
    update: str,
    own: bool,
    autostart: bool,
) -> Status:
    """The one thing worth saying of a backend on this machine, of all that is known."""
    if installation is not None:
        stop: Mend = "cancel_install" if installation.stoppable else ""
        return Status("installing", installation.label, installation.said, stop, factor=installation.factor)
    if ending:
        return Status("stopping", "Stopping", "What is being made leaves a checkpoint first.")
    if client.state == "open":
        return _open(worker)
    if client.state == "refused":
        return _refused(client, update, own)
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


def _refused(client: Client, update: str, own: bool) -> Status:
    """By a backend of this machine."""
    if client.refusal == "client_version":
        return Status("refused", "Not Let In", OLDER_ADDON, "open_extensions")
    if client.refusal == "version" and not own:
        named = (
            "The Python that was named has an older backend than this add-on. Bring it up to date there, or name none."
        )
        return Status("refused", "Not Let In", named, "open_preferences", again="restart_backend")
    if client.refusal == "version":
        older = "The backend is older than this add-on, which brings a newer one."
        return Status("refused", "Not Let In", older, "update_backend" if update else "install_backend")
    return Status("refused", "Not Let In", client.sentence, "restart_backend")


def remote_status_of(client: Client, worker: Worker | None, remote: Remote) -> Status:
    """The same of a backend on another machine, which is neither installed nor started from here."""
    status = _remote_status(client, worker, remote)
    return dataclasses.replace(status, host=remote.host)


def _remote_status(client: Client, worker: Worker | None, remote: Remote) -> Status:
    if remote.offline:
        return Status("offline", "Offline", client.sentence, "open_network")
    if not remote.complete:
        return Status("failed", "Not Set Up", client.sentence, "open_preferences")
    if client.state == "open":
        return _open(worker, mend="reconnect")
    if client.state == "refused" and client.refusal == "key":
        unknown = (
            f"{remote.host} does not know this add-on's key. Copy it, and send it to whoever runs the backend there, "
            "who lets you in by: dreamcraft3d keys add NAME 'KEY'"
        )
        return Status("refused", "Not Let In", unknown, "copy_key", again="reconnect")
    if client.state == "refused" and client.refusal == "client_version":
        return Status("refused", "Not Let In", OLDER_ADDON, "open_extensions", again="reconnect")
    if client.state == "refused" and client.refusal == "version":
        older = f"The backend on {remote.host} is older than this add-on. Whoever runs it there can update it."
        return Status("refused", "Not Let In", older, "reconnect")
    if client.state == "refused":
        return Status("refused", "Not Let In", client.sentence, "reconnect")
    if client.state == "lost":
        return Status("lost", "Connection Lost", f"{client.sentence} Trying again.", "reconnect")
    return Status("connecting", "Connecting", client.sentence, "open_preferences")


def _open(worker: Worker | None, mend: Mend = "restart_backend") -> Status:
    if worker is None:
        return Status("ready", "Ready")
    device = worker.name or DEVICES.get(worker.device, worker.device.upper())
    if worker.state == "failed":
        return Status("failed", "Cannot Compute", worker.sentence, mend, device=device)
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
