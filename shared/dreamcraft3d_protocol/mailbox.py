"""A queue of messages in which the newest preview wins and everything else keeps its order.

Both sides have one: the backend for each client, so that a slow one gets little instead of late; the client for what
came between two of its timer's ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import JobState, Message, ModelList, Pong, Presets, Preview, Result, Worker


def supersedes(new: Message, old: Message) -> bool:
    """Whether nobody needs ``old`` who is going to read ``new``."""
    if isinstance(new, Preview) and isinstance(old, Preview):
        if (new.job, new.subject) != (old.job, old.subject):
            return False
        return new.form in ("mesh", old.form)
    if isinstance(new, Result) and isinstance(old, Preview):
        return new.job == old.job and old.form != "picture"
    if isinstance(new, JobState) and isinstance(old, JobState):
        return (new.job, new.state, new.stage, new.error) == (old.job, old.state, old.stage, old.error)
    if isinstance(new, Worker) and isinstance(old, Worker):
        return (new.state, new.sentence) == (old.state, old.sentence)
    return isinstance(new, ModelList | Presets | Pong) and type(new) is type(old)


class Mailbox:
    """First in, first out; what a new message makes needless is dropped from among those that wait.

    A new picture takes the place of an older one of its subject: samples never that of the reference, nor it theirs. A
    whole mesh takes the place of all that was known of the job's shape. One that changes only positions, colours or
    texture takes the place of an older one of its form, never of the mesh it is based on. A result takes the place of
    whatever was shown of the job's shape. A job's state takes the place of an older one that differs only in progress, a
    worker's of an older one that differs only in memory, and a list of models or presets, or a pong, that of an older one.
    """

    def __init__(self, needless: Callable[[Message, Message], bool] = supersedes) -> None:
        """``needless`` says whether a new message makes an older one of the same job, or the same kind, needless."""
        self._needless = needless
        self._waiting: dict[int, Received] = {}
        # The numbers of what waits, by the job or the kind: only such supersede each other.
        self._about: dict[Hashable, tuple[int, ...]] = {}
        self._put = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message, arrays: Arrays) -> None:
        """Append, and drop what it supersedes."""
        subject = _subject(message)
        for number in self._about.get(subject, ()):
            if self._needless(message, self._waiting[number][0]):
                self._drop(number)
        self._put += 1
        self._waiting[self._put] = message, arrays
        self._about[subject] = (*self._about.get(subject, ()), self._put)

    def look(self) -> Received:
        """The oldest message, which stays. Raises IndexError if there is none."""
        return self._waiting[self._oldest()]

    def take(self) -> Received:
        """The oldest message. Raises IndexError if there is none."""
        return self._drop(self._oldest())

    def _oldest(self) -> int:
        for number in self._waiting:
            return number
        raise IndexError("nothing waits")

    def _drop(self, number: int) -> Received:
        message, arrays = self._waiting.pop(number)
        subject = _subject(message)
        left = tuple(other for other in self._about[subject] if other != number)
        if left:
            self._about[subject] = left
        else:
            del self._about[subject]
        return message, arrays


def _subject(message: Message) -> Hashable:
    return getattr(message, "job", None) or message.kind
