"""A job as the supervisor knows it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dreamcraft3d.service.order import Order
from dreamcraft3d.service.transitions import STOPPING, Event, after
from dreamcraft3d_protocol.messages import Fault, JobState, State

log = logging.getLogger(__name__)


@dataclass
class Job:
    """What is kept of a job between messages.

    Attributes:
        id: a UUID.
        position: its place in the queue; the lowest comes first.
        created: seconds since 1970.
        stage, step, steps: where it is; an empty stage before the first.
        seconds: spent computing so far, in all its attempts.
        attempts: how often its worker died since it last made headway.
        headway: what its checkpoints looked like when a worker last died.
        advanced: stages that the artist ended, or wants to end, before their steps are done.
        begun: how often it was handed to a worker.
        left_seconds: until it is done, or None while that cannot be told.
        made: the stages whose results are there.
    """

    id: str
    name: str
    created: float
    position: int
    order: Order
    state: State = "queued"
    stage: str = ""
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    eta_seconds: float | None = None
    sentence: str = ""
    error: Fault | None = None
    attempts: int = 0
    headway: str = ""
    advanced: tuple[str, ...] = ()
    begun: int = 0
    left_seconds: float | None = None
    made: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether the worker has it."""
        return self.state in STOPPING

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do for it, unless it is resumed."""
        return self.state in ("done", "cancelled", "failed")

    def take(self, event: Event) -> bool:
        """Change the state as an event does; one that does not fit is logged, changes nothing, and gives False."""
        state = after(self.state, event)
        if state is None:
            log.info("job %s is %s: there is nothing to %s", self.id, self.state, event)
            return False
        self.state = state
        return True

    def told(self) -> JobState:
        """As clients are told of it."""
        stages = self.order.stages
        return JobState(
            job=self.id,
            name=self.name,
            prompt=self.order.prompt,
            preset=self.order.preset.name,
            seed=self.order.seed,
            state=self.state,
            stage=self.stage,
            stage_index=stages.index(self.stage) if self.stage in stages else 0,
            stage_count=len(stages),
            step=self.step,
            steps=self.steps,
            seconds=round(self.seconds, 2),
            eta_seconds=self.eta_seconds,
            sentence=self.sentence,
            error=self.error,
            created=self.created,
            position=self.position,
            advanced=self.advanced,
            left_seconds=None if self.left_seconds is None else round(self.left_seconds, 1),
            stages=self.made,
        )
