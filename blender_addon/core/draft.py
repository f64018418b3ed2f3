# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture that the artist looks at before an object is ordered from it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass
class Draft:
    """One such picture, or one that is still being made.

    Attributes:
        job: that makes it.
        basis: all that it was made from: it is the picture of an order that has the same.
        words: the backend's sentence on the words it goes by, or empty.
        png: the bytes of the picture, cut out; empty until it is there.
    """

    job: str
    basis: Hashable
    words: str = ""
    png: bytes = b""

    def serves(self, basis: Hashable) -> bool:
        """Whether an object ordered from ``basis`` is made from this picture."""
        return bool(self.png) and self.basis == basis
