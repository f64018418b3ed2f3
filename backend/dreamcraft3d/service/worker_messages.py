"""What supervisor and worker say to each other; ``Preview`` and ``Advance`` travel as the protocol's own."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from dreamcraft3d_protocol.messages import Advance, Fault, JobId, Kinds, Message, Preview


@dataclass(frozen=True)
class Run(Message):
    """Do a job, or go on with it; ``folder`` is the job's, and holds its order. ``advanced`` stages end early.

    Attributes:
        begun: how often it was begun, this time included.
    """

    kind: ClassVar[str] = "run"
    job: JobId
    folder: str
    artefacts: str
    begun: int = 1
    advanced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop(Message):
    """Leave a checkpoint after the present step of a job, and stop; answered by :class:`Stopped`."""

    kind: ClassVar[str] = "stop"
    job: JobId


@dataclass(frozen=True)
class Ready(Message):
    """The libraries and models are loaded; ``device`` is ``cpu`` or ``cuda``, ``name`` the graphics card's, or empty."""

    kind: ClassVar[str] = "ready"
    device: str
    name: str = ""


@dataclass(frozen=True)
class Beat(Message):
    """The process is alive, whatever it computes; with the device's memory as in ``Worker``, zeros before it is ready."""

    kind: ClassVar[str] = "beat"
    memory_bytes: int = 0
    free_bytes: int = 0
    used_bytes: int = 0


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


TO_WORKER: Kinds = MappingProxyType({m.kind: m for m in (Run, Stop, Advance)})
FROM_WORKER: Kinds = MappingProxyType({m.kind: m for m in (Ready, Beat, Progress, Preview, Done, Stopped, Failed)})
