"""The one exception of the protocol: a sentence that says what is wrong with what came over the wire or from disk."""

from __future__ import annotations


class ProtocolError(Exception):
    """A message, an array, a key file or a connection file is not as it must be; ``str()`` is a sentence."""
