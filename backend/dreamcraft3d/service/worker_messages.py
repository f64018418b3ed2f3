"""What supervisor and worker say to each other; previews travel as the protocol's own ``Preview``."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from dreamcraft3d_protocol.messages import Fault, JobId, Kinds, Message, Preview


@dataclass(frozen=True)
class Run(Message):
    """Do a job, or go on with it; ``folder`` is the job's, and holds ``order.json``."""

    kind: ClassVar[str] = "run"
    job: JobId
    folder: str
    artefacts: str


@dataclass(frozen=True)
class Stop(Message):
    """Leave a checkpoint after the present step of a job, and stop; answered by :class:`Stopped`."""

    kind: ClassVar[str] = "stop"
    job: JobId


@dataclass(frozen=True)
class Ready(Message):
    """The libraries and models are loaded; ``device`` is ``cpu`` or ``cuda``."""

    kind: ClassVar[str] = "ready"
    device: str


@dataclass(frozen=True)
class Beat(Message):
    """The process is alive, whatever it computes."""

    kind: ClassVar[str] = "beat"


@dataclass(frozen=True)
class Progress(Message):
    """Where a job is; ``seconds`` since it was begun or gone on with, ``sentence`` if there is a new one."""

    kind: ClassVar[str] = "progress"
    job: JobId
    stage: str
    step: int
    steps: int
    seconds: float
    eta_seconds: float | None
    sentence: str


@dataclass(frozen=True)
class Done(Message):
    """A job is finished; its result lies in its folder."""

    kind: ClassVar[str] = "done"
    job: JobId
    seconds: float


@dataclass(frozen=True)
class Stopped(Message):
    """A job was stopped; its checkpoint is written."""

    kind: ClassVar[str] = "stopped"
    job: JobId
    seconds: float


@dataclass(frozen=True)
class Failed(Message):
    """A job cannot go on."""

    kind: ClassVar[str] = "failed"
    job: JobId
    seconds: float
    error: Fault


@dataclass(frozen=True)
class Died(Message):
    """Not sent by the worker, but said of it by the engine: its process ended while it had this job."""

    kind: ClassVar[str] = "died"
    job: JobId
    sentence: str


TO_WORKER: Kinds = MappingProxyType({m.kind: m for m in (Run, Stop)})
FROM_WORKER: Kinds = MappingProxyType({m.kind: m for m in (Ready, Beat, Progress, Preview, Done, Stopped, Failed)})
