# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a job: ordered, watched, stopped, gone on with, forgotten, found again in a file that is opened."""

from __future__ import annotations

import uuid
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import (
    Advance,
    Attach,
    Cancel,
    CancelDownload,
    Detach,
    Download,
    Error,
    Fault,
    Forget,
    JobState,
    LastStage,
    ModelList,
    Models,
    Move,
    Pause,
    Preview,
    Result,
    Resume,
    Submit,
    Welcome,
    Where,
    Whole,
)

from .draft import Draft
from .jobs import Jobs
from .placement import title
from .previews import Previews
from .refinement import Refinement
from .session import Session
from .settings import Settings


@dataclass(frozen=True)
class Wish:
    """What the artist asks for.

    Attributes:
        prompt: words, or empty where there is a picture.
        preset: by name.
        seed: the same one makes the same object.
        negative: words for what it shall not be, or empty.
    """

    prompt: str
    preset: str
    seed: int
    negative: str = ""

    @property
    def name(self) -> str:
        """What the object is going to be called."""
        return title(self.prompt)


class Studio:
    """The session, and all that is known of jobs and their shapes.

    Attributes:
        trouble: what the backend did not do, where that is the matter of no job that there is; or None.
        models: the full-size models of the backend; None before it has told.
        rejected: jobs that were ordered and will never be, since the last look.
        draft: the picture that the artist looks at before ordering, or None.
        remembered: jobs whose end is an undo step of this file already; another one would cut off what can be redone.
        written: what the meshes of this file were like after each shape, to know those again that undo brings back.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.jobs = Jobs()
        self.previews = Previews()
        self.trouble: Fault | None = None
        self.models: ModelList | None = None
        self.rejected: list[str] = []
        self.written: set[tuple[int, ...]] = set()
        self.draft: Draft | None = None
        self._discarded: set[str] = set()
        self.remembered: set[str] = set()
        self._watched: set[str] = set()
        self._unanswered: dict[str, tuple[Submit, Arrays]] = {}

    def tick(self, budget_seconds: float) -> int:
        """Take in what the backend said; how many messages that were."""
        letters = self.session.tick(budget_seconds)
        for letter in letters:
            self._take(letter)
        return len(letters)

    def generate(self, wish: Wish, arrays: Arrays) -> str:
        """Order an object; returns the job's id.

        Args:
            arrays: ``picture``, the bytes of an image file, or nothing.

        Raises:
            ProtocolError: it cannot be sent as it is.
        """
        job = self._order(wish, arrays, "texture")
        self.jobs.ordered[job] = wish.name
        return job

    def refine(self, refinement: Refinement, arrays: Arrays) -> None:
        """Order a better version of an object that is there.

        Args:
            arrays: the object, as the protocol's ``Submit`` has it; nothing where another job is gone on from.

        Raises:
            ProtocolError: it cannot be sent as it is.
        """
        self._submit(refinement.submission, arrays)
        self.jobs.ordered[refinement.job] = refinement.name

    def preview_picture(self, wish: Wish, arrays: Arrays, basis: Hashable) -> None:
        """Order the picture alone, as a draft.

        Args:
            arrays: as of :meth:`generate`.
            basis: of the draft.

        Raises:
            ProtocolError: it cannot be sent as it is.
        """
        job = self._order(wish, arrays, "reference")
        self.discard_draft()
        self.draft = Draft(job, basis)

    def discard_draft(self) -> None:
        """The draft is not needed any more, nor what the backend keeps of it."""
        if self.draft is not None:
            job, self.draft = self.draft.job, None
            self._discarded.add(job)
            self._clear_away(job)

    def reference(self, basis: Hashable) -> Arrays | None:
        """The draft as an order's arrays, or None if it is not what would be made from ``basis``."""
        if self.draft is None or not self.draft.serves(basis):
            return None
        return {"picture": np.frombuffer(self.draft.png, np.uint8)}

    def cancel(self, job: str) -> None:
        """Stop it after its present step; it can go on later."""
        self.jobs.ending.add(job)
        self.session.send(Cancel(job))

    def pause(self, job: str) -> None:
        """Let it rest after its present step; it keeps its place, and goes on when it is resumed."""
        self.jobs.ending.discard(job)
        self.session.send(Pause(job))

    def pause_all(self) -> None:
        """Let everything rest, so that the backend gives its memory back; what waits first, so that nothing begins."""
        for job in reversed(self.jobs.that(self.jobs.may_pause)):
            self.pause(job)

    def resume_all(self) -> None:
        """Let everything that is paused go on."""
        for job in self.jobs.paused:
            self.resume(job)

    def advance(self, job: str) -> None:
        """End its present stage as if its steps were done, and go on with the next."""
        self.session.send(Advance(job, self.jobs.by_id[job].stage))

    def move(self, job: str, where: Where) -> None:
        """Give it another place among those that wait."""
        self.session.send(Move(job, where))

    def resume(self, job: str) -> None:
        """Let it go on from where it was."""
        self.session.want()
        self._watched.add(job)
        self.jobs.ending.discard(job)
        self.session.send(Resume(job))

    def forget(self, job: str) -> None:
        """Delete it in the backend; the object in the scene stays."""
        self.jobs.ending.add(job)
        self.session.send(Forget(job))
        self._watched.discard(job)
        self.previews.drop(job)
        self.jobs.faults.pop(job, None)

    def watch(self, jobs: Iterable[str]) -> None:
        """Show these jobs in the scene from now on, what has been missed included."""
        for job in jobs:
            if not self.previews.show_again(job):
                self._attach(job)

    def watch_only(self, jobs: Iterable[str]) -> None:
        """As :meth:`watch`, and let go of all others: another file was opened."""
        self.remembered.clear()
        self.written.clear()
        self.discard_draft()
        wanted = set(jobs)
        for job in sorted((self._watched | self.previews.pictures.keys()) - wanted):
            self.previews.drop(job)
            self._let_go(job)
        self.watch(sorted(wanted))

    def shown(self, job: str) -> None:
        """The scene shows a job's shape as it is held; a final one need not be held any longer, its pictures stay."""
        shape = self.previews.shapes[job]
        shape.stale.clear()
        if shape.final:
            del self.previews.shapes[job]
            self._let_go(job)

    def download(self, model: str) -> None:
        """Have the backend get a model whose licence the artist has accepted, where it asks for that."""
        self.session.send(Download(model, accepted=True))

    def cancel_download(self, model: str) -> None:
        self.session.send(CancelDownload(model))

    def under(self, settings: Settings) -> Studio:
        """The studio under other settings: itself, or for another backend another one.

        What the backend before has not answered is ordered from the next one.
        """
        session = self.session.under(settings)
        if session is self.session:
            return self
        other = Studio(session)
        for asked, arrays in self._unanswered.values():
            if asked.job not in self._discarded:
                other._submit(asked, arrays)
        other.jobs.ordered = self.jobs.ordered
        if self.draft is not None and (self.draft.png or self.draft.job in self._unanswered):
            other.draft = self.draft
        return other

    def close(self) -> None:
        self.session.close()

    def _order(self, wish: Wish, arrays: Arrays, until: LastStage) -> str:
        job = str(uuid.uuid4())
        asked = Submit(job, wish.prompt, wish.preset, wish.seed, until=until, name=wish.name, negative=wish.negative)
        self._submit(asked, arrays)
        return job

    def _submit(self, asked: Submit, arrays: Arrays) -> None:
        self.session.send(asked, arrays)
        self.session.want()
        self.trouble = None
        self._watched.add(asked.job)
        self._unanswered[asked.job] = asked, arrays

    def _clear_away(self, job: str) -> None:
        """Take a step toward a discarded draft's end; what runs must stop before it can be forgotten."""
        if self.jobs.may_forget(job):
            self._discarded.discard(job)
            self.forget(job)
        elif self.jobs.may_cancel(job):
            self.cancel(job)

    def _attach(self, job: str) -> None:
        if not self.session.stopped:
            self.session.want()
        if job in self._watched & self._unanswered.keys():
            return  # it is shown as soon as it is taken; if it is not, there would be two refusals
        self._watched.add(job)
        self.session.send(Attach(job))

    def _let_go(self, job: str) -> None:
        self._watched.discard(job)
        self.session.send(Detach(job))

    def _take(self, letter: Received) -> None:
        message, arrays = letter
        order = self._unanswered.pop(message.job or "", None) if isinstance(message, JobState | Error) else None
        self.jobs.take(message)
        if isinstance(message, JobState) and message.job in self._discarded:
            self._clear_away(message.job)
        if isinstance(message, Preview | Result) and message.job not in self._watched:
            return  # sent before the backend heard that it was let go of
        if self.draft is not None and getattr(message, "job", None) == self.draft.job:
            self._drafted(self.draft, letter)
        if isinstance(message, Preview):
            if not self.previews.take(message, arrays):
                self.session.send(Whole(message.job))
        elif isinstance(message, Result):
            self.previews.finish(message, arrays)
        elif isinstance(message, Welcome):
            self.trouble = None
            self.session.send(Models())
        elif isinstance(message, ModelList):
            self.models = message
        elif isinstance(message, Error):
            self._refused(message, order is not None)

    def _drafted(self, draft: Draft, letter: Received) -> None:
        message, arrays = letter
        if isinstance(message, JobState):
            draft.words = message.sentence or draft.words
        elif isinstance(message, Result):
            draft.png = arrays["picture"].tobytes()
        elif isinstance(message, Error) and draft.job not in self.jobs.by_id:
            self.draft = None

    def _refused(self, error: Error, order: bool) -> None:
        """Only an order's end is the end of its object: another backend may have a job that this one does not know."""
        if error.job in self.jobs.by_id:
            return
        self.trouble = Fault(error.code, error.sentence, error.hint, error.action if order else "")
        if error.job is not None:
            self._watched.discard(error.job)
        if error.job is not None and order:
            self.rejected.append(error.job)
