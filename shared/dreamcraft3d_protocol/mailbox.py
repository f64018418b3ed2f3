"""A queue of messages in which the newest preview wins and everything else keeps its order.

Both sides have one: the backend for each client, so that a slow one gets little instead of late; the client for what
came between two of its timer's ticks.
"""

from __future__ import annotations

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.codec import Received
from dreamcraft3d_protocol.messages import JobState, Message, ModelList, Preview, Worker


class Mailbox:
    """First in, first out; what a new message makes needless is dropped from among those that wait.

    A new picture takes the place of an older one of its subject: samples never that of the reference, nor it theirs. A
    whole mesh takes the place of all that was known of the job's shape. One that changes only positions, colours or
    texture takes the place of an older one of its form, never of the mesh it is based on. A job's state takes the place
    of an older one that differs only in progress, a worker's of an older one that differs only in memory, and a list of
    models that of an older one.
    """

    def __init__(self) -> None:
        self._waiting: list[Received] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message, arrays: Arrays) -> None:
        """Append, and drop what it supersedes."""
        self._waiting = [held for held in self._waiting if not supersedes(message, held[0])]
        self._waiting.append((message, arrays))

    def look(self) -> Received:
        """The oldest message, which stays. Raises IndexError if there is none."""
        return self._waiting[0]

    def take(self) -> Received:
        """The oldest message. Raises IndexError if there is none."""
        return self._waiting.pop(0)


def supersedes(new: Message, old: Message) -> bool:
    """Whether nobody needs ``old`` who is going to read ``new``."""
    if isinstance(new, Preview) and isinstance(old, Preview):
        if (new.job, new.subject) != (old.job, old.subject):
            return isinstance(new, ModelList) and isinstance(old, ModelList)
        return new.form in ("mesh", old.form)
    if isinstance(new, JobState) and isinstance(old, JobState):
        return (new.job, new.state, new.stage, new.error) == (old.job, old.state, old.stage, old.error)
    if isinstance(new, Worker) and isinstance(old, Worker):
        return (new.state, new.sentence) == (old.state, old.sentence)
    return isinstance(new, ModelList) and isinstance(old, ModelList)
