"""The newest preview of each job, kept so that a client that comes later can be shown it whole."""

from __future__ import annotations

from dataclasses import replace

from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import Preview

MAX_JOBS = 8
"""Of jobs shown longest ago, previews are dropped."""


class Gallery:
    """Previews in memory; a job that is done needs none."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, Received]] = {}

    def put(self, preview: Preview, letter: Received) -> None:
        """Keep a preview; a whole mesh takes the place of all that was known of the shape."""
        kept = self._jobs.pop(preview.job, {})
        if preview.form == "mesh":
            kept = {form: held for form, held in kept.items() if form == "picture"}
        kept[preview.form] = letter
        self._jobs[preview.job] = kept
        while len(self._jobs) > MAX_JOBS:
            del self._jobs[next(iter(self._jobs))]

    def whole(self, job: str) -> list[Received]:
        """The reference picture and the newest mesh, with all that has changed of it since; what there is of them."""
        kept = self._jobs.get(job, {})
        shown = [kept["picture"]] if "picture" in kept else []
        if "mesh" not in kept:
            return shown
        newest, _ = list(kept.values())[-1] if list(kept)[-1] != "picture" else kept["mesh"]
        arrays = dict(kept["mesh"][1])
        for form in ("positions", "colours"):
            if form in kept:
                arrays |= kept[form][1]
        assert isinstance(newest, Preview)
        return [*shown, (replace(newest, form="mesh", base=None), arrays)]

    def drop(self, job: str) -> None:
        self._jobs.pop(job, None)
