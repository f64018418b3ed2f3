"""How long jobs took here, stage by stage, and what follows for those that are to come."""

from __future__ import annotations

import json
from collections import deque
from statistics import median

from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.order import Order

KEPT = 5
"""Of jobs alike, the newest count."""


class History:
    """Seconds of the stages of finished jobs, by all that their length hangs on."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        self._took: dict[str, deque[dict[str, float]]] = {}

    def learn(self, job: Job) -> None:
        """Note a job that is done. One whose stages were ended early teaches nothing, nor does one without its files."""
        if job.advanced:
            return
        try:
            text = (self._data.job(job.id) / "object" / "progress.json").read_text(encoding="utf-8")
            took = {stage: float(numbers["seconds"]) for stage, numbers in json.loads(text).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        took["export"] = max(job.seconds - sum(took.values()), 0.0)  # and the loading of models
        self._took.setdefault(_key(job.order), deque(maxlen=KEPT)).append(took)

    def usual(self, order: Order) -> dict[str, float]:
        """Seconds of each stage of such a job; empty where there was none."""
        alike = self._took.get(_key(order))
        return {stage: median(took.get(stage, 0.0) for took in alike) for stage in order.stages} if alike else {}

    def left(self, job: Job) -> float | None:
        """Seconds until a job is done: of its stage by its present pace, of those to come as usual."""
        usual = self.usual(job.order)
        if not usual:
            return None
        stages = list(usual)
        if job.stage not in stages:
            return sum(usual.values())
        here, share = stages.index(job.stage), job.step / job.steps if job.steps else 0.0
        now = usual[job.stage] * (1 - share) if job.eta_seconds is None else job.eta_seconds
        return now + sum(usual[stage] for stage in stages[here + 1 :])


def _key(order: Order) -> str:
    return f"{order.first} {order.until} {order.mesh is None} {order.start is None} {order.preset.model_dump_json()}"
