# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist may choose as quality: the backend's presets, or before it is there, the ones it always has."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dreamcraft3d_protocol.messages import PresetInfo, Welcome

from .jobs import duration


@dataclass(frozen=True)
class Preset:
    """A preset's name for the backend, its label of a word or two, what it is, takes, and does otherwise than Demo."""

    name: str
    label: str
    about: str
    seconds: float | None = None
    memory_bytes: int | None = None
    changes: tuple[str, ...] = ()

    @property
    def estimate(self) -> str:
        """What it takes: ``About 3 min, 1.5 GB of memory``; empty where nothing is known."""
        time = "" if self.seconds is None else f"about {duration(self.seconds)}"
        memory = "" if self.memory_bytes is None else f"{gigabytes(self.memory_bytes)} of memory"
        words = ", ".join(part for part in (time, memory) if part)
        return words[:1].upper() + words[1:]


BUILT_IN = {
    "embedded": Preset("embedded", "Demo", "toy objects, nothing to download"),
    "draft": Preset("draft", "Draft", "toy objects, roughly, in under a minute"),
}


def presets(welcome: Welcome | None) -> list[Preset]:
    """Those that may be chosen, the built-in ones first."""
    if welcome is None or not welcome.presets:
        return list(BUILT_IN.values())
    told = {info.name: _told(info) for info in welcome.presets}
    known = [replace(told[name], label=own.label, about=own.about) for name, own in BUILT_IN.items() if name in told]
    return known + [preset for name, preset in told.items() if name not in BUILT_IN]


def _told(info: PresetInfo) -> Preset:
    label = info.name.replace("-", " ").title()
    return Preset(info.name, label, info.about, info.seconds, info.memory_bytes, info.changes)


def gigabytes(count: int) -> str:
    """Bytes as one says them: ``1.5 GB``, ``24 GB``."""
    size = count / (1 << 30)
    return f"{size:.1f} GB" if size < 10 else f"{size:.0f} GB"


def preset(name: str, welcome: Welcome | None) -> Preset:
    """The one of that name; one that the backend does not have says so."""
    for known in presets(welcome):
        if known.name == name:
            return known
    return Preset(name, name.title(), "This backend does not have it: choose another")
