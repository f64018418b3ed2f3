"""Sidebar and preferences page side by side in every state of the backend, by a scripted one on real sockets.

Run by ``run.sh`` as ``SESSIONS=states``, which makes a contact sheet of the screenshots.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import bpy

sys.path.insert(0, os.path.dirname(__file__))
from driving import ADDON, WORK, Condition, install, preferences, press, run, shoot, sidebar, soon, studio, view
from scripted import Server

JOB = str(uuid.UUID(int=1))
SLOW_PYTHON = """#!/bin/sh
[ "$2" = -c ] && echo "dreamcraft3d is here: 0.1.0" && exit
echo "The backend takes its time."; exec sleep 600
"""


def part(name: str) -> Any:
    return sys.modules[f"{ADDON}.{name}"]


def phase() -> str:
    return studio().session.status.phase


def side_by_side() -> Iterator[Condition]:
    """The viewport with its sidebar left, the add-on's page right, and nothing else."""
    view()["window"].cursor_warp(2, 2)  # no tooltip in the pictures
    yield soon()
    for area in [area for area in view()["screen"].areas if area.type != "VIEW_3D"]:
        with bpy.context.temp_override(window=view()["window"], area=area):
            bpy.ops.screen.area_close()
        yield soon()
    press("screen.area_split", direction="VERTICAL", factor=0.42)
    yield soon()
    viewports = sorted((a for a in view()["screen"].areas if a.type == "VIEW_3D"), key=lambda area: area.x)
    viewports[-1].type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "DreamCraft3D"
    yield soon()
    bpy.ops.preferences.addon_expand(module=ADDON)
    sidebar().active_panel_category = "DreamCraft3D"
    yield soon()


def unfold(*names: str) -> None:
    """These sections of the page, as Blender lets nobody but a hand unfold them."""

    def section(layout: Any, name: str, title: str) -> Any:
        header, body = layout.panel(f"shown_{name}_{name in names}", default_closed=name not in names)
        header.label(text=title)
        return body

    part("panels.page").section = section


def models() -> Any:
    """A catalogue in all its states."""
    from dreamcraft3d_protocol.messages import Fault, ModelInfo, ModelList

    gone = Fault("user", "The model blip could not be had. The connection to the hub failed.", "Try again later.", "")
    page = "https://huggingface.co"
    return ModelList(
        (
            ModelInfo("deepfloyd-if-l", "DeepFloyd IF stage I, 0.9 B: for cards with less memory", "flat", 11.4,
                      "deepfloyd-if-license", True, True, page, "absent"),
            ModelInfo("zero123-xl", "Zero-1-to-3 XL: the paper's 3D prior", "view", 7.1, "mit", False, False, page,
                      "downloading", 2_600_000_000, 7_100_000_000),
            ModelInfo("stable-diffusion-2-1", "Stable Diffusion 2.1: the texture's prior", "texture, text-to-image", 5.2,
                      "openrail++", False, False, page, "waiting"),
            ModelInfo("blip", "BLIP: words for a picture", "caption", 1.0, "bsd-3-clause", False, False, page, "absent",
                      0, 0, gone),
            ModelInfo("u2net", "U2-Net: cutting the object out", "matting", 0.2, "apache-2.0", False, False, page,
                      "present"),
        ),
        "/home/artist/.local/share/dreamcraft3d/models", 182.0,
    )  # fmt: skip


def states() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    preferences().data = str(WORK / "scripted")  # not that of a session before
    yield from side_by_side()
    unfold()
    yield lambda: phase() == "missing"
    yield from shoot("20-no-backend")

    slow = WORK / "slow-python"
    slow.write_text(SLOW_PYTHON)
    slow.chmod(0o755)
    preferences().python = str(slow)
    yield lambda: phase() == "off"
    yield from shoot("21-off")
    press("dreamcraft3d.start_backend")
    unfold("log")
    yield lambda: phase() == "starting"
    yield soon()
    yield from shoot("22-starting")
    part("link.process").stop(studio().session._process)
    yield from connected()
    yield from elsewhere()


def connected() -> Iterator[Condition]:
    """Idle, at work, at rest, with a job that failed or is not there, unable to compute, lost, of another version."""
    from scripted_backend import colour_preview, job_state, mesh_preview

    from dreamcraft3d_protocol.messages import Fault, JobList, Refused, Worker

    server = Server(studio().session.settings.data)
    say = server.backend.say
    yield lambda: phase() == "ready"
    say(models())
    unfold("models")
    yield lambda: studio().models is not None
    yield from shoot("23-idle")
    unfold()
    bpy.context.scene.dreamcraft3d.prompt = "a red mushroom"
    say(JobList((job_state(JOB),)), Worker("busy", "cuda", "", "NVIDIA RTX A4000", 16 << 30, 9 << 30, 5 << 30))
    yield lambda: phase() == "busy"
    press("dreamcraft3d.attach", job=JOB)
    say(mesh_preview(JOB, 1), colour_preview(JOB, 2))
    yield soon()
    yield from shoot("24-running")
    say(
        job_state(JOB, "paused", sentence=""),
        Worker("resting", "cuda", "Its memory is free for others.", "NVIDIA RTX A4000"),
    )
    yield lambda: phase() == "ready"
    yield from shoot("25-paused")
    died = Fault("worker", "The worker died 3 times at the same place.", "Try a smaller preset.", "resume")
    say(job_state(JOB, "failed", error=died))
    yield lambda: studio().jobs.by_id[JOB].state == "failed"
    yield from shoot("26-job-failed")
    say(JobList(()))
    yield lambda: not studio().jobs.by_id
    yield from shoot("26-not-its-job")
    ended = "The worker cannot be started. It ended by itself with status 1."
    say(job_state(JOB, "failed", error=died), Worker("failed", "", ended))
    yield lambda: phase() == "failed"
    yield from shoot("27-cannot-compute")
    server.close()
    yield lambda: phase() == "lost"
    yield from shoot("28-lost")
    for number, (code, older) in enumerate((("version", "backend"), ("client_version", "client"))):
        server = Server(studio().session.settings.data)
        server.answers = False
        if phase() == "refused":
            press("dreamcraft3d.reconnect")
        yield lambda server=server: bool(server.backend.socket.poll(0))
        who, *_ = server.backend.socket.recv_multipart()
        said = "The client speaks version 2 of the protocol, the backend 1." if number == 0 else (
            "The client speaks version 2 of the protocol, the backend 3."
        )  # fmt: skip
        server.backend.tell(who, Refused(code, said, f"Update the {older}."))
        yield lambda: phase() == "refused"
        yield from shoot(f"29-older-{older}")
        server.close()


def elsewhere() -> Iterator[Condition]:
    """Another machine: not named yet, with a key it does not know, let in, and forbidden."""
    from dreamcraft3d_protocol.connection import Connection, keys_of

    server = Server(WORK / "elsewhere")
    preferences().where = "REMOTE"
    yield lambda: phase() == "failed"
    yield soon()
    yield from shoot("30-remote-unnamed")
    published = Connection.read(server.backend.data)
    assert published is not None
    preferences().endpoint, preferences().server_key = published.endpoint, published.server_public_key
    yield lambda: phase() == "refused"
    yield from shoot("31-remote-unknown-key")
    press("dreamcraft3d.copy_key")
    assert bpy.context.window_manager.clipboard == studio().session.public_key != ""
    keys_of(server.backend.data).enrol(studio().session.public_key.encode(), "studio")
    server.backend.gate.configure_curve(domain="*", location=str(keys_of(server.backend.data).path / "clients"))
    press("dreamcraft3d.reconnect")
    yield lambda: phase() == "ready"
    yield from shoot("32-remote")
    preferences().endpoint = "tcp://studio.example:5555"
    yield lambda: phase() == "offline"
    yield from shoot("33-offline")
    server.close()


run(states())
