"""What the supervisor gives back. Seen to fail without the collection."""

from __future__ import annotations

import gc
import weakref

from dreamcraft3d.service.memory import give_back


class Loop:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_in_cycles_is_given_back() -> None:
    gc.disable()
    try:
        made = weakref.ref(Loop())
        assert made() is not None
        give_back()
        assert made() is None
    finally:
        gc.enable()
