"""The presets that a job may name, and what is known of each before it runs: time, memory, what it does otherwise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import EMBEDDED, Preset, load_preset, preset_names
from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.history import History
from dreamcraft3d.service.order import Order
from dreamcraft3d_protocol.messages import PresetInfo

log = logging.getLogger(__name__)

GIB = 1 << 30
SECONDS = {"embedded": 180.0, "draft": 40.0}
"""Of the package's presets on two cores of a processor, before there are jobs to tell by."""
MEMORY = {"12gb": 8 * GIB, "paper": 16 * GIB, "as-released": 16 * GIB}
"""Of a graphics card: the smallest of 8, 12, 16 and 24 GiB that all stages fit on, by the means that a plan finds."""
EMBEDDED_MEMORY = round(1.5 * GIB)
"""Of the computer, with the embedded models: the most that was measured."""

_WORDS: tuple[tuple[str, Callable[[Preset], Any], tuple[str, ...]], ...] = (
    ("2D prior", lambda p: p.priors.flat, ("priors.flat",)),
    ("3D prior", lambda p: p.priors.view, ("priors.view",)),
    ("Painter", lambda p: p.priors.texture, ("priors.texture", "priors.picture")),
    (
        "Steps of the rough shape",
        lambda p: p.coarse.density_steps + p.coarse.sdf_steps + (p.coarse.fit_steps if p.coarse.sampled_views else 0),
        ("coarse.density_steps", "coarse.sdf_steps", "coarse.fit_steps"),
    ),
    ("Steps of the fine shape", lambda p: p.geometry.steps, ("geometry.steps",)),
    (
        "Steps of painting",
        lambda p: len(p.texture.restore_levels) * (p.texture.dreambooth_steps + p.texture.distil_steps),
        ("texture.restore_levels", "texture.dreambooth_steps", "texture.distil_steps"),
    ),
    ("Cells of the shape, a side", lambda p: p.geometry.resolution, ("geometry.resolution",)),
    ("Faces at most", lambda p: p.geometry.faces, ("geometry.faces",)),
    ("Pixels painting looks at, a side", lambda p: p.texture.picture, ("texture.picture",)),
    ("Pixels of the texture, a side", lambda p: p.export.texture, ("export.texture",)),
    ("Pictures drawn to choose from", lambda p: p.reference.candidates, ("reference.candidates",)),
)
"""What an artist may want to know of a preset: its name, its value, and the settings it is made of."""


class Offers:
    """The package's presets and the user's own."""

    def __init__(self, data: DataFolder, history: History) -> None:
        self._data, self._history = data, history
        self._found: tuple[PresetInfo, ...] = ()

    def presets(self) -> tuple[PresetInfo, ...]:
        """Those that can be read; while they cannot be looked for, as where no descriptor is left, those of before."""
        try:
            names = preset_names(self._data.presets)
        except OSError as error:
            log.warning("the presets cannot be looked for: %s", error.strerror)
            return self._found
        found = []
        for name in names:
            try:
                found.append(self._info(load_preset(name, self._data.presets)))
            except UserError as error:
                log.warning("%s", error)
        self._found = tuple(found)
        return self._found

    def _info(self, preset: Preset) -> PresetInfo:
        usual = self._history.usual(
            Order(prompt="", preset=preset, seed=0, first="coarse", until="texture", picture=None, mesh=None)
        )
        seconds = round(sum(usual.values()), 1) if usual else SECONDS.get(preset.name)
        memory = MEMORY.get(preset.name) if preset.priors.full else EMBEDDED_MEMORY
        return PresetInfo(preset.name, preset.about, seconds, memory, changes(preset, load_preset(EMBEDDED)))


def changes(preset: Preset, base: Preset) -> tuple[str, ...]:
    """What a preset does otherwise than another, a few words each: what an artist knows by name, then how much more."""
    told = [
        f"{name}: {value(preset)} instead of {value(base)}" for name, value, _ in _WORDS if value(preset) != value(base)
    ]
    known = {path for _, _, paths in _WORDS for path in paths} | {"name", "about"}
    one, other = _leaves(preset.model_dump()), _leaves(base.model_dump())
    finer = sum(one.get(path) != other.get(path) for path in (one.keys() | other.keys()) - known)
    return (*told, *([f"Finer settings: {finer} others"] if finer else []))


def _leaves(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by their paths, such as ``geometry.steps``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _leaves(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found
