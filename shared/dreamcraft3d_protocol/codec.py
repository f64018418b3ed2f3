"""A message as ZeroMQ frames: a msgpack header, then the raw bytes of each array.

Frame 0 is a msgpack map: ``kind``, the message's fields, and ``arrays``, a list of ``{name, dtype, shape}``. Frames 1 to n
are the arrays in that order, little-endian, C order. Nothing is copied in either direction, so an array that was sent
must not be changed afterwards, and those received are read-only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgpack
import numpy as np
import zmq

from dreamcraft3d_protocol.arrays import DTYPES, Array, Arrays, check_arrays
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.fields import from_plain, to_plain
from dreamcraft3d_protocol.messages import Kinds, Message

MAX_HEADER_BYTES = 1 << 20
MAX_ARRAYS = 8
MAX_BYTES = 1 << 29
"""What the arrays of one message may have in all."""

Frame = bytes | memoryview
Received = tuple[Message, Arrays]


def encode(message: Message, arrays: Arrays | None = None) -> list[Frame]:
    """The frames of a message.

    Raises:
        ProtocolError: the message or its arrays would be refused by the other side.
    """
    arrays = arrays or {}
    plain = to_plain(message)
    from_plain(plain, {message.kind: type(message)}, 0)
    raw = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    check_arrays(message, raw)
    described = [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in raw.items()]
    header = msgpack.packb(plain | {"arrays": described})
    if len(header) > MAX_HEADER_BYTES or sum(a.nbytes for a in raw.values()) > MAX_BYTES:
        raise ProtocolError(f"A {message.kind} of this size cannot be sent; {MAX_BYTES >> 20} MiB are allowed.")
    return [header, *(_bytes_of(a) for a in raw.values())]


def _bytes_of(array: Array) -> memoryview:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8).data


def decode(frames: Sequence[bytes | memoryview | zmq.Frame], kinds: Kinds, peer_minor: int = 0) -> Received:
    """The message and arrays of some frames, checked in every respect.

    Args:
        frames: as they came.
        kinds: what may come from this side: ``CLIENT_KINDS`` or ``BACKEND_KINDS``.
        peer_minor: the peer's minor protocol version, 0 before it is known.

    Raises:
        ProtocolError: something about them is wrong; the sentence says what.
    """
    buffers = [memoryview(f.buffer if isinstance(f, zmq.Frame) else f).toreadonly() for f in frames]
    if not buffers or buffers[0].nbytes > MAX_HEADER_BYTES:
        raise ProtocolError("The header is missing or too long.")
    try:
        header = msgpack.unpackb(buffers[0])
    except (ValueError, TypeError, msgpack.UnpackException):
        raise ProtocolError("The header is not msgpack.") from None
    if not isinstance(header, dict):
        raise ProtocolError("The header is not a map.")
    described = header.pop("arrays", None)
    message = from_plain(header, kinds, peer_minor)
    arrays = _read_arrays(described, buffers[1:])
    check_arrays(message, arrays)
    return message, arrays


def _read_arrays(described: Any, buffers: Sequence[memoryview]) -> dict[str, Array]:
    if not isinstance(described, list) or len(described) != len(buffers) or len(buffers) > MAX_ARRAYS:
        raise ProtocolError(
            f"The header's arrays are not the {len(buffers)} frames that came, or more than {MAX_ARRAYS}."
        )
    if sum(b.nbytes for b in buffers) > MAX_BYTES:
        raise ProtocolError(f"The arrays are larger than {MAX_BYTES >> 20} MiB.")
    arrays: dict[str, Array] = {}
    for entry, buffer in zip(described, buffers, strict=True):
        name, dtype, shape = _description(entry)
        if name in arrays:
            raise ProtocolError(f"The array {name!r} came twice.")
        if math.prod(shape) * dtype.itemsize != buffer.nbytes:
            raise ProtocolError(f"The array {name!r} of shape {shape} does not fill its {buffer.nbytes} bytes.")
        array = np.frombuffer(buffer, dtype) if buffer.nbytes else np.empty(0, dtype)
        arrays[name] = np.require(array.reshape(shape), dtype.newbyteorder("="), "A")
    return arrays


def _description(entry: Any) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
        raise ProtocolError("An array must be described by name, dtype and shape.")
    name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
    if not isinstance(name, str) or len(name) > 60:
        raise ProtocolError("An array's name must be a short text.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"The array {name!r} must be one of {', '.join(DTYPES)}.")
    whole = isinstance(shape, list) and len(shape) <= 4 and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    # numpy refuses some shapes by their sides alone, though one of them is 0 and no bytes are needed
    if not whole or math.prod(n or 1 for n in shape) > MAX_BYTES:
        raise ProtocolError(f"The array {name!r} has no shape that can be.")
    return name, np.dtype(f"<{DTYPES[dtype]}"), tuple(shape)
