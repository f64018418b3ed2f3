"""Every message of the protocol, one frozen dataclass each.

World axes on the wire are the backend's: right-handed, z up, the object's front toward +x. Colours are sRGB albedo.
Which arrays a message carries is said in ``arrays.py``; how strictly fields are read, in ``fields.py``.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

MAX_TEXT = 4096
"""Characters a string may have."""

JobId = Annotated[str, re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
"""A UUID as ``str(uuid.uuid4())`` writes it. The client makes it, so that a submission sent twice is one job."""
Seed = Annotated[int, range(2**32)]
FirstStage = Literal["coarse", "geometry", "texture"]
LastStage = Literal["reference", "coarse", "geometry", "texture"]
State = Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "done", "failed"]
Where = Literal["front", "up", "down", "back"]
Form = Literal["picture", "mesh", "positions", "colours", "texture"]
Subject = Literal["object", "reference", "samples", "surface"]


@dataclass(frozen=True)
class Message:
    """What all messages are."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Fault:
    """What went wrong with a job.

    Attributes:
        code: for programs: ``user`` (what was asked for cannot be done), ``bug``, ``disk``, ``worker``, ...
        sentence: what is wrong.
        hint: what to do about it, or empty.
        action: a deed that mends it and that a panel may offer: ``resume``, ``edit``, or empty.
    """

    code: str
    sentence: str
    hint: str
    action: str


@dataclass(frozen=True)
class PresetInfo:
    """A preset that a job may name.

    Attributes:
        seconds: that a job of it takes here, from words to the finished object; None while that cannot be told.
        memory_bytes: that it needs, of the graphics card where there are full-size models, else of the computer; or None.
        changes: what it does otherwise than ``embedded``, a few words each, the weightiest first.
    """

    name: str
    about: str
    seconds: float | None = None
    memory_bytes: int | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInfo:
    """A full-size model of the backend's catalogue.

    Attributes:
        name: what presets call it.
        use: what it can do for a run: ``texture``, ``depth, normals``.
        gigabytes: 1e9 bytes of all its files together.
        licence: its short name.
        non_commercial: the licence forbids commercial use, and must be accepted before the download.
        gated: the hub wants an account that has accepted the licence.
        page: where the licence can be read.
        state: whether it lies there; ``waiting`` for another download to end.
        done, total: bytes, while it is downloaded.
        fault: why the last download ended without the model, or None.
    """

    name: str
    about: str
    use: str
    gigabytes: float
    licence: str
    non_commercial: bool
    gated: bool
    page: str
    state: Literal["absent", "waiting", "downloading", "present"]
    done: int = 0
    total: int = 0
    fault: Fault | None = None


# --- client to backend ---


@dataclass(frozen=True)
class Hello(Message):
    """The first message of every connection; answered by :class:`Welcome` or :class:`Refused`.

    Attributes:
        major, minor: of the protocol, as the client speaks it.
        client, version: who it is, for the log: ``blender``, ``0.1.0``.
    """

    kind: ClassVar[str] = "hello"
    major: int
    minor: int
    client: str
    version: str


@dataclass(frozen=True)
class Submit(Message):
    """Queue a job, and attach to it. A second one with the same id attaches only.

    Attributes:
        prompt: words, or empty where a picture is given.
        negative: words for what it shall not be, or empty.
        first: the first stage after the reference; ``geometry`` and ``texture`` need a mesh or a base, ``coarse`` takes
            no mesh.
        until: the last stage.
        name: what the artist calls it.
        base, base_stage: the job to go on from, and the stage of it whose result is the start; ``first`` is that stage,
            for more steps of it, or a later one. Without prompt and picture, the base's are used as they are.
    """

    kind: ClassVar[str] = "submit"
    job: JobId
    prompt: str
    preset: str
    seed: Seed
    first: FirstStage = "coarse"
    until: LastStage = "texture"
    name: str = ""
    negative: str = ""
    base: JobId | None = None
    base_stage: FirstStage | None = None


@dataclass(frozen=True)
class Cancel(Message):
    """Stop a job after its present step; it keeps its checkpoint."""

    kind: ClassVar[str] = "cancel"
    job: JobId


@dataclass(frozen=True)
class Pause(Message):
    """Let a job rest after its present step: it keeps its checkpoint and its place in the queue.

    While a job is paused and none waits, the backend holds no memory for computing.
    """

    kind: ClassVar[str] = "pause"
    job: JobId


@dataclass(frozen=True)
class Advance(Message):
    """End a stage of a running job as if its steps were done, and go on with the next.

    It ends after its present step, or after the first that leaves an object to go on with. The stage is named so that a
    message that comes late does not end the next one.
    """

    kind: ClassVar[str] = "advance"
    job: JobId
    stage: str


@dataclass(frozen=True)
class Move(Message):
    """Give a job that waits another place among those that wait."""

    kind: ClassVar[str] = "move"
    job: JobId
    where: Where


@dataclass(frozen=True)
class Attach(Message):
    """Send this job's state, its newest preview whole, its result if it is done, and from now on its events."""

    kind: ClassVar[str] = "attach"
    job: JobId


@dataclass(frozen=True)
class Detach(Message):
    """No more previews and results of this job."""

    kind: ClassVar[str] = "detach"
    job: JobId


@dataclass(frozen=True)
class Whole(Message):
    """The base of a preview is missing here: send the newest one whole."""

    kind: ClassVar[str] = "whole"
    job: JobId


@dataclass(frozen=True)
class Resume(Message):
    """A paused, cancelled or failed job goes on from its checkpoint: a paused one in its old place of the queue."""

    kind: ClassVar[str] = "resume"
    job: JobId


@dataclass(frozen=True)
class Forget(Message):
    """Delete a job that is not running, and its files; answered by :class:`JobList`."""

    kind: ClassVar[str] = "forget"
    job: JobId


@dataclass(frozen=True)
class Jobs(Message):
    """Ask for :class:`JobList`.

    Attributes:
        before: seconds since 1970: only jobs created earlier, for those that a first list left out.
    """

    kind: ClassVar[str] = "jobs"
    before: float | None = None


@dataclass(frozen=True)
class Models(Message):
    """Ask for :class:`ModelList`, now and from now on at each change."""

    kind: ClassVar[str] = "models"


@dataclass(frozen=True)
class Download(Message):
    """Get a model; answered by :class:`ModelList`.

    Attributes:
        accepted: its licence was read and accepted; needed where that forbids commercial use.
    """

    kind: ClassVar[str] = "download"
    model: str
    accepted: bool = False


@dataclass(frozen=True)
class CancelDownload(Message):
    """Leave off; files that are whole stay, and are not loaded again by the next download."""

    kind: ClassVar[str] = "cancel_download"
    model: str


@dataclass(frozen=True)
class Ping(Message):
    """Ask for :class:`Pong`."""

    kind: ClassVar[str] = "ping"


@dataclass(frozen=True)
class Shutdown(Message):
    """Leave a checkpoint and end the backend; obeyed only for the key made on the backend's own machine."""

    kind: ClassVar[str] = "shutdown"


# --- backend to client ---


@dataclass(frozen=True)
class Welcome(Message):
    """The handshake is done.

    Attributes:
        version: the backend's own.
        backend_id: a UUID that stays with the data folder: jobs of another backend are not to be found here.
        presets: what a job may name.
    """

    kind: ClassVar[str] = "welcome"
    major: int
    minor: int
    version: str
    backend_id: JobId
    presets: tuple[PresetInfo, ...]


@dataclass(frozen=True)
class Refused(Message):
    """There will be no conversation.

    Attributes:
        code: ``version`` where the backend is the older one, ``client_version`` where the client is; ``hello`` where
            something else came first, ``protocol`` where that could not be read.
    """

    kind: ClassVar[str] = "refused"
    code: str
    sentence: str
    hint: str


@dataclass(frozen=True)
class Worker(Message):
    """How the process that computes is; told to everybody at the handshake and at each change.

    Attributes:
        state: ``resting`` is one that was ended so that its memory is free; it starts again with the next job.
        device: ``cpu``, ``cuda``, or empty while it is not known.
        sentence: for the artist.
        name: of the graphics card, or empty.
        memory_bytes: of the device in all, 0 while it is not known.
        free_bytes: of these, what nobody uses.
        used_bytes: what the process itself has taken of the computer's memory.
    """

    kind: ClassVar[str] = "worker"
    state: Literal["starting", "ready", "busy", "restarting", "resting", "failed"]
    device: str
    sentence: str
    name: str = ""
    memory_bytes: int = 0
    free_bytes: int = 0
    used_bytes: int = 0


@dataclass(frozen=True)
class Presets(Message):
    """What is known of the presets has changed since :class:`Welcome`; told to everybody."""

    kind: ClassVar[str] = "presets"
    presets: tuple[PresetInfo, ...]


@dataclass(frozen=True)
class JobState(Message):
    """All there is to know of a job, told to everybody at each change.

    Attributes:
        stage: ``reference``, ``coarse``, ``geometry``, ``texture``, ``export``, or empty before the first.
        stage_index, stage_count: which stage of how many, from 0.
        step, steps: steps taken in this stage, of how many.
        seconds: spent computing so far.
        eta_seconds: until the end of this stage, or None while it cannot be told.
        sentence: the last thing worth telling, or empty.
        created: seconds since 1970.
        position: in the queue; of the jobs that wait, the one with the lowest comes first.
        advanced: stages that were ended, or are to be, before their steps are done (:class:`Advance`).
        left_seconds: until the job is done, as long as earlier ones took here; None while that cannot be told.
        stages: those whose results are there, for a job to go on from (``Submit.base_stage``).
    """

    kind: ClassVar[str] = "job_state"
    job: JobId
    name: str
    prompt: str
    preset: str
    seed: Seed
    state: State
    stage: str
    stage_index: int
    stage_count: int
    step: int
    steps: int
    seconds: float
    eta_seconds: float | None
    sentence: str
    error: Fault | None
    created: float
    position: int = 0
    advanced: tuple[str, ...] = ()
    left_seconds: float | None = None
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobList(Message):
    """The jobs of this backend, oldest first; of very many, those that run or wait next, and the newest.

    Attributes:
        total: how many jobs there are.
        waiting: how many of them wait for their turn.
        before: as it was asked for in :class:`Jobs`.
    """

    kind: ClassVar[str] = "job_list"
    jobs: tuple[JobState, ...]
    total: int = 0
    waiting: int = 0
    before: float | None = None


@dataclass(frozen=True)
class ModelList(Message):
    """The full-size models, in the order of the catalogue.

    Attributes:
        folder: where they lie on the backend's machine.
        free_gigabytes: 1e9 bytes that are free there.
    """

    kind: ClassVar[str] = "model_list"
    models: tuple[ModelInfo, ...]
    folder: str
    free_gigabytes: float


@dataclass(frozen=True)
class Preview(Message):
    """What a job looks like now.

    Attributes:
        seq: grows with each preview of a job.
        stage: that made it.
        form: what the arrays are; ``picture`` and ``mesh`` are whole, the others change a mesh sent before.
        topology: names the faces shown; empty for a picture.
        base: for the forms that change a mesh, the topology they change (the same as ``topology``), else None.
        subject: what is shown: the object itself, or in a picture the reference, its surface (depth and normals side by
            side), or the samples in rows that the stage learns from.
        caption: of a picture, for the artist: which samples, such as ``round 2, t' 0.3``; or empty.
    """

    kind: ClassVar[str] = "preview"
    job: JobId
    seq: int
    stage: str
    form: Form
    topology: str
    base: str | None
    subject: Subject = "object"
    caption: str = ""


@dataclass(frozen=True)
class Result(Message):
    """What a job made: a textured mesh, or a picture where it ended with the reference.

    Attributes:
        metrics: numbers by name: ``seconds``, ``faces``, ``vertices``, ``psnr``, ``mask_iou``, ``coverage``.
    """

    kind: ClassVar[str] = "result"
    job: JobId
    metrics: dict[str, float]


@dataclass(frozen=True)
class Error(Message):
    """Something asked for was not done; fields as in :class:`Fault`, and the job it is about, if any."""

    kind: ClassVar[str] = "error"
    code: str
    sentence: str
    hint: str = ""
    action: str = ""
    job: JobId | None = None


@dataclass(frozen=True)
class Pong(Message):
    """Answers :class:`Ping`."""

    kind: ClassVar[str] = "pong"


Kinds = Mapping[str, type[Message]]


def _by_kind(*classes: type[Message]) -> Kinds:
    return types.MappingProxyType({c.kind: c for c in classes})


CLIENT_KINDS = _by_kind(
    Hello, Submit, Cancel, Pause, Advance, Move, Attach, Detach, Whole, Resume, Forget, Jobs, Models, Download,
    CancelDownload, Ping, Shutdown,
)  # fmt: skip
BACKEND_KINDS = _by_kind(Welcome, Refused, Worker, Presets, JobState, JobList, ModelList, Preview, Result, Error, Pong)
