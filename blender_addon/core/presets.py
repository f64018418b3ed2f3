# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist may choose as quality: the backend's presets, or before it is there, the ones it always has."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcraft3d_protocol.messages import Welcome


@dataclass(frozen=True)
class Preset:
    """A preset's name for the backend, its label of a word or two, and what it is."""

    name: str
    label: str
    about: str


BUILT_IN = {
    "embedded": Preset("embedded", "Demo", "toy objects, nothing to download"),
    "draft": Preset("draft", "Draft", "toy objects, roughly, in under a minute"),
}


def presets(welcome: Welcome | None) -> list[Preset]:
    """Those that may be chosen, the built-in ones first."""
    if welcome is None or not welcome.presets:
        return list(BUILT_IN.values())
    told = {info.name: Preset(info.name, info.name.replace("-", " ").title(), info.about) for info in welcome.presets}
    known = [preset for name, preset in BUILT_IN.items() if name in told]
    return known + [preset for name, preset in told.items() if name not in BUILT_IN]


def preset(name: str, welcome: Welcome | None) -> Preset:
    """The one of that name; one that the backend does not have says so."""
    for known in presets(welcome):
        if known.name == name:
            return known
    return Preset(name, name.title(), "This backend does not have it: choose another")
