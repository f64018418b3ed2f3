"""Memory that is not needed any more, given back to the system instead of kept for later."""

from __future__ import annotations

import ctypes
import gc
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


def keep_for_good() -> None:
    """Have what is there now, modules above all, never searched for garbage again, so that a search is soon over."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give back what nobody needs: garbage in cycles, which Python lets lie until it is much, and free pages of the heap.

    The header of each file that numpy reads leaves such garbage.
    """
    gc.collect()
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "malloc_trim", _nothing)(0)


def _nothing(*_: int) -> None:
    """What a C library other than GNU's has."""
