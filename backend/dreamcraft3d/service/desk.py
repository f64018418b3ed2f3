"""What happens to jobs: when a client asks for something, and when the engine tells of something."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from functools import cached_property
from typing import Literal

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import load_preset
from dreamcraft3d.priors.words import known_words
from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.asking import check_asked, order_of
from dreamcraft3d.service.engine import Engine, headway
from dreamcraft3d.service.folder import DISK_FULL, FULL, DataFolder
from dreamcraft3d.service.gallery import Gallery
from dreamcraft3d.service.going_on import Base, made_by
from dreamcraft3d.service.history import History
from dreamcraft3d.service.job import Job
from dreamcraft3d.service.listing import listed
from dreamcraft3d.service.logs import about
from dreamcraft3d.service.offers import Offers
from dreamcraft3d.service.recovery import FOUND
from dreamcraft3d.service.register import Register
from dreamcraft3d.service.result import read_result
from dreamcraft3d.service.retention import Limits, overdue
from dreamcraft3d.service.sockets import Clients, Session
from dreamcraft3d.service.steering import advance, go_on, stop
from dreamcraft3d.service.transitions import Event
from dreamcraft3d.service.turns import move
from dreamcraft3d.service.worker_messages import Died, Done, Failed, Progress, Stopped
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import (
    Advance,
    Attach,
    Cancel,
    Detach,
    Error,
    Fault,
    Forget,
    JobList,
    Jobs,
    Message,
    Move,
    Pause,
    PresetInfo,
    Presets,
    Preview,
    Resume,
    Submit,
    Where,
    Whole,
)

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
MAX_NAME = 200
MAX_SENTENCE = 1000
"""Characters; a sentence may quote what was sent."""
ROOM_SECONDS, LONGEST_ROOM_SECONDS = 5.0, 60.0
"""Before a job that the disk would not have is tried again: twice as long each time, up to the second."""
WAITS = "The job waits until that has changed."
ENDS: dict[type[Message], Event] = {Done: "finish", Stopped: "leave", Failed: "fail"}


class Desk:
    """Between those who ask for jobs and the engine that does them."""

    def __init__(self, data: DataFolder, register: Register, clients: Clients, engine: Engine) -> None:
        self._data, self._register, self._clients, self._engine = data, register, clients, engine
        self._artefacts = Artefacts(data.artefacts)
        self._gallery = Gallery()
        self._seconds_before = self._begin_at = 0.0
        self._room_seconds = ROOM_SECONDS
        self._history = History(data)
        self._offers = Offers(data, self._history)
        for job in sorted(self._jobs, key=lambda job: job.created):
            if job.state == "done":
                self._history.learn(job)

    @property
    def _jobs(self) -> Collection[Job]:
        return self._register.jobs.values()

    @property
    def busy(self) -> bool:
        """Whether there is anything to compute."""
        return any(job.active or job.state == "queued" for job in self._jobs)

    def presets(self) -> tuple[PresetInfo, ...]:
        return self._offers.presets()

    def listed(self) -> JobList:
        return listed(self._jobs)

    def tidy(self, limits: Limits) -> None:
        """Delete the jobs that are kept no longer."""
        attached = {job for session in self._clients.sessions.values() for job in session.attached}
        gone = list(overdue(self._data, self._jobs, attached, limits, time.time()))
        for job, why in gone:
            with about("tidy", job.id):
                try:
                    self._delete(job)
                except (UserError, OSError) as error:
                    log.error("the job %s cannot be deleted: %s", job.id, error)
                    continue
                log.info("the job %s%s is deleted: %s", job.id, f" ({job.name})" if job.name else "", why)
        if gone:
            self._clients.tell_all(self.listed())

    # --- what clients ask for ---

    def asked(self, session: Session, message: Message, arrays: Arrays) -> None:
        """Do what a client wants, or tell it why not."""
        job = getattr(message, "job", None)
        with about(message.kind, job):
            self._try_to_answer(session, message, arrays, job)

    def _try_to_answer(self, session: Session, message: Message, arrays: Arrays, job: str | None) -> None:
        try:
            self._answer(session, message, arrays)
        except UserError as error:
            log.info("%s is told: %s", session.name, error)
            self._clients.tell(session, Error("user", error.sentence[:MAX_SENTENCE], error.hint, "edit", job))
        except OSError as error:
            log.error("a %s could not be obeyed", message.kind, exc_info=error)
            self._clients.tell(session, Error("disk", _unwritten(error), f"Look after {self._data.path}.", "", job))
        except Exception:  # one client's request must not end the others' backend
            log.exception("a bug, in answer to %s", message.kind)
            sentence = "Something went wrong in the backend that should not have."
            self._clients.tell(session, Error("bug", sentence, "serve.log in the data folder says more.", "", job))

    def _answer(self, session: Session, message: Message, arrays: Arrays) -> None:
        deeds: dict[type[Message], Callable[[Session, Job], None]] = {
            Cancel: lambda session, job: self._stop(job, "cancel"),
            Pause: lambda session, job: self._stop(job, "pause"),
            Attach: self._attach,
            Detach: lambda session, job: session.attached.discard(job.id),
            Whole: self._show,
            Resume: self._resume,
            Forget: self._forget,
        }
        if isinstance(message, Cancel | Pause | Resume | Forget | Advance | Move):
            log.info("%s asks for it: %s", session.name, message)
        if isinstance(message, Submit):
            self._submit(session, message, arrays)
        elif isinstance(message, Jobs):
            self._clients.tell(session, listed(self._jobs, message.before))
        elif isinstance(message, Advance):
            self._advance(self._register.find(message.job), message.stage)
        elif isinstance(message, Move):
            self._move(self._register.find(message.job), message.where)
        elif type(message) in deeds:
            deeds[type(message)](session, self._register.find(getattr(message, "job", "")))

    def _submit(self, session: Session, asked: Submit, arrays: Arrays) -> None:
        known = self._register.jobs
        if asked.job in known:
            return self._ask_again(session, known[asked.job])
        preset = load_preset(asked.preset, self._data.presets)
        base = known.get(asked.base or "")
        before = None if base is None else Base(base.id, base.order, self._register.run_of(base))
        check_asked(asked, arrays, preset, before, lambda: self._vocabulary)
        order = order_of(asked, arrays, preset, before, self._artefacts)
        job = Job(asked.job, asked.name[:MAX_NAME], time.time(), self._register.last_position + 1, order)
        self._register.add(job)
        session.attached.add(job.id)
        log.info("%s gives the job %s, preset %s", session.name, job.id, preset.name)
        self._engine.wake()

    def _ask_again(self, session: Session, job: Job) -> None:
        """A client did not hear that its job was taken in; where the journal had not heard either, it was found at rest."""
        if job.sentence == FOUND and not job.begun:
            self._resume(session, job)
        self._attach(session, job)

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        return known_words()

    def _stop(self, job: Job, how: Literal["pause", "cancel"]) -> None:
        stop(job, how, self._engine)
        self._register.changed(job)

    def _advance(self, job: Job, stage: str) -> None:
        if advance(job, stage):
            self._register.changed(job)
            self._engine.advance(job.id, stage)

    def _move(self, job: Job, where: Where) -> None:
        if job.state != "queued":
            raise UserError("Only a job that waits has a place in the queue.", "Choose one that waits.")
        for moved in move(self._jobs, job, where):
            self._register.changed(moved)

    def _attach(self, session: Session, job: Job) -> None:
        session.attached.add(job.id)
        self._clients.tell(session, job.told())
        self._show(session, job)
        if job.state == "done":
            self._send_result(job, [session])

    def _show(self, session: Session, job: Job) -> None:
        for preview, arrays in self._gallery.whole(job.id):
            self._clients.tell(session, preview, arrays)

    def _resume(self, session: Session, job: Job) -> None:
        session.attached.add(job.id)
        go_on(job, self._register.last_position, self._engine)
        self._register.changed(job)

    def _forget(self, session: Session, job: Job) -> None:
        if job.active:
            raise UserError("The job is running.", "Cancel it before you delete it.")
        self._delete(job)
        self._clients.tell_all(self.listed())

    def _delete(self, job: Job) -> None:
        self._register.delete(job)
        self._gallery.drop(job.id)
        if not self._register.partial:  # whose rest holds nobody knows what
            self._artefacts.sweep({name for kept in self._jobs for name in kept.order.artefacts})

    # --- what the engine tells ---

    def happened(self, letter: Received) -> None:
        """Take note of something that the engine did."""
        message, arrays = letter
        job = self._register.jobs.get(getattr(message, "job", ""))
        if job is None:
            return
        with about(message.kind, job.id):
            try:
                self._take(job, message, arrays)
            except Exception:  # the other jobs and clients must not suffer for it
                log.exception("a bug, as the worker told of %s", message.kind)

    def _take(self, job: Job, message: Message, arrays: Arrays) -> None:
        if isinstance(message, Preview):
            self._gallery.put(message, arrays)
            self._clients.tell_attached(job.id, message, arrays)
        elif isinstance(message, Progress):
            self._progressed(job, message)
        elif isinstance(message, Died):
            self._lost_its_worker(job, message.sentence)
        elif isinstance(message, Done | Stopped | Failed):
            self._ended(job, message)

    def _progressed(self, job: Job, now: Progress) -> None:
        moved = now.stage != job.stage
        if moved:
            job.made = made_by(self._register.run_of(job))
            log.info("the job %s comes to the stage %s", job.id, now.stage)
        job.stage, job.step, job.steps = now.stage, now.step, now.steps
        job.seconds, job.eta_seconds = self._seconds_before + now.seconds, now.eta_seconds
        job.sentence = now.sentence or job.sentence
        job.left_seconds = self._history.left(job)
        if moved:
            self._register.changed(job)
        else:
            self._register.stepped(job)

    def _ended(self, job: Job, message: Done | Stopped | Failed) -> None:
        full = isinstance(message, Failed) and message.error.code == "disk"
        if not job.take("leave" if full else ENDS[type(message)]):
            return
        job.seconds, job.eta_seconds, job.sentence = self._seconds_before + message.seconds, None, ""
        job.made = made_by(self._register.run_of(job))
        if isinstance(message, Done):
            job.step, job.left_seconds = job.steps, None
            self._gallery.drop(job.id)
            self._history.learn(job)
            self._room_seconds = ROOM_SECONDS
        elif full:
            self._wait_for_room(job, DISK_FULL)
        elif isinstance(message, Failed):
            job.error = message.error
        why = job.error.sentence if job.error else job.sentence
        log.info("the job %s is %s after %.1f s%s", job.id, job.state, job.seconds, f": {why}" if why else "")
        self._register.changed(job)
        if job.state == "done":
            self._clients.tell_all(Presets(self.presets()))
            self._send_result(job, [s for s in self._clients.sessions.values() if job.id in s.attached])

    def _lost_its_worker(self, job: Job, why: str) -> None:
        now = headway(self._register.run_of(job))
        job.attempts = job.attempts + 1 if now == job.headway else 1
        job.headway, job.eta_seconds = now, None
        if job.attempts >= MAX_ATTEMPTS and job.state == "running":
            job.take("fail")
            sentence = f"The worker died {job.attempts} times at the same place. {why}"
            job.error = Fault(
                "worker", sentence, "Try a smaller preset, or see worker.log in the data folder.", "resume"
            )
        elif job.take("leave") and job.state == "queued":
            job.sentence = f"The worker died; the job goes on from its last checkpoint. {why}"
        self._register.changed(job)

    # --- the queue ---

    def begin_next(self) -> None:
        """Hand the first job that waits to the engine, if that is free; where all are paused, let it rest."""
        if self._register.running is not None:
            return
        queue = self._register.queue
        if not queue and any(job.state == "paused" for job in self._jobs):
            self._engine.rest()
        if not queue or self._engine.told.state != "ready":
            return
        if time.monotonic() < self._begin_at:
            return
        job = queue[0]
        try:
            self._register.write_order(job)
        except OSError as error:
            before = job.sentence
            self._wait_for_room(job, _unwritten(error))
            if job.sentence != before:
                log.error("the job %s cannot begin: %s", job.id, job.sentence)
                self._register.changed(job)
            return
        if job.sentence.endswith(WAITS):
            job.sentence = ""
        job.take("begin")
        job.begun += 1
        self._seconds_before = job.seconds
        with about("begin", job.id):
            log.info("the job %s begins", job.id)
        self._register.changed(job)
        self._engine.run(job.id, job.begun, job.advanced)

    def _wait_for_room(self, job: Job, why: str) -> None:
        """Say why a job waits, or what was in its way where it rests or has ended; the next begins later."""
        job.sentence = f"{why} {WAITS}" if job.state == "queued" else why
        self._begin_at = time.monotonic() + self._room_seconds
        self._room_seconds = min(2 * self._room_seconds, LONGEST_ROOM_SECONDS)

    def _send_result(self, job: Job, sessions: list[Session]) -> None:
        if not sessions:
            return
        result = read_result(self._data.job(job.id), job.id)
        if result is None:
            job.take("lose")
            job.error = Fault("lost", "The result of this job is not on the disk any more.", "Resume it.", "resume")
            return self._register.changed(job)
        for session in sessions:
            self._clients.tell(session, *result)


def _unwritten(error: OSError) -> str:
    return DISK_FULL if error.errno in FULL else f"The backend cannot write: {error.strerror}."
