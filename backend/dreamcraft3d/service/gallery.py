"""The newest previews of each job, kept so that a client that comes later can be shown it whole."""

from __future__ import annotations

from dataclasses import replace

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.mailbox import supersedes
from dreamcraft3d_protocol.messages import Preview

MAX_JOBS = 8
"""Of jobs shown longest ago, previews are dropped."""


class Gallery:
    """Previews in memory; a job that is done needs none."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[tuple[Preview, Arrays]]] = {}

    def put(self, preview: Preview, arrays: Arrays) -> None:
        """Keep a preview in the place of those that it makes needless."""
        kept = [held for held in self._jobs.pop(preview.job, []) if not supersedes(preview, held[0])]
        self._jobs[preview.job] = [*kept, (preview, arrays)]
        while len(self._jobs) > MAX_JOBS:
            del self._jobs[next(iter(self._jobs))]

    def whole(self, job: str) -> list[Received]:
        """The pictures and the newest mesh, with all that has changed of it since, its texture apart; what there is.

        Mesh and texture both bear the newest number, or a client would take the one for older than the other.
        """
        kept = self._jobs.get(job, [])
        shown: list[Received] = [held for held in kept if held[0].form == "picture"]
        shape = [held for held in kept if held[0].form != "picture"]
        if any(preview.form == "mesh" for preview, _ in shape):
            last = shape[-1][0]
            arrays = {
                n: array for preview, changed in shape if preview.form != "texture" for n, array in changed.items()
            }
            shown.append((replace(last, form="mesh", base=None), arrays))
            shown += [(replace(preview, seq=last.seq), a) for preview, a in shape if preview.form == "texture"]
        return shown

    def drop(self, job: str) -> None:
        self._jobs.pop(job, None)
