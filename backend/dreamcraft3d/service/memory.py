"""Memory that is not needed any more, given back to the system instead of kept for later."""

from __future__ import annotations

import ctypes
import sys

GIVE_BACK_SECONDS = 60.0
_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 17


def keep_large_apart() -> None:
    """Have previews and results allocated on their own, so that their memory is the system's again as soon as they are sent.

    The C library does so by itself until the first of them is freed, and then takes all up to 32 MiB from its heap.
    """
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "mallopt", _nothing)(_M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Give free pages of the heap back, such as those of messages that waited for clients."""
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", _nothing)(0)


def _nothing(*_: int) -> None:
    """What a C library other than GNU's has."""
