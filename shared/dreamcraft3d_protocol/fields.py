"""Messages as plain values and back: every field is checked against its annotation."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import reprlib
import types
import typing
from typing import Annotated, Any, Literal

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import MAX_TEXT, Kinds, Message


def to_plain(message: Message) -> dict[str, Any]:
    """The message as msgpack can hold it: ``kind`` and the fields."""
    return {"kind": message.kind, **dataclasses.asdict(message)}


def from_plain(values: dict[str, Any], kinds: Kinds, peer_minor: int) -> Message:
    """The message that :func:`to_plain` gave, every field checked.

    Args:
        values: ``kind`` and the fields.
        kinds: those that may come from this side.
        peer_minor: the peer's minor version; fields from a higher one than ours are ignored. The messages of the
            handshake say it themselves.

    Raises:
        ProtocolError: an unknown kind, a field missing or unknown, of the wrong type, too long, or not finite.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ProtocolError(f"There is no message of the kind {_shown(kind)}.")
    fields = {name: value for name, value in values.items() if name != "kind"}
    said = fields.get("minor")
    if kind in ("hello", "welcome") and isinstance(said, int):
        peer_minor = said
    message = _read_record(kinds[kind], fields, kind, peer_minor)
    assert isinstance(message, Message)
    return message


@functools.cache
def _hints(record: type) -> dict[str, Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}


def _read_record(record: type, values: Any, where: str, peer_minor: int) -> Any:
    if not isinstance(values, dict):
        raise ProtocolError(f"{where} must be a map of fields, not {_shown(values)}.")
    hints = _hints(record)
    unknown = sorted(str(name) for name in values if name not in hints)
    if unknown and peer_minor <= VERSION[1]:
        raise ProtocolError(f"{where} has no field {_shown(unknown[0])}.")
    fields = dataclasses.fields(record)
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in values]
    if missing:
        raise ProtocolError(f"{where} lacks the field {_shown(missing[0])}.")
    return record(**{n: _read(hint, values[n], f"{where}.{n}", peer_minor) for n, hint in hints.items() if n in values})


def _read(hint: Any, value: Any, where: str, peer_minor: int) -> Any:
    """``value`` as the type that ``hint`` names, or a :class:`ProtocolError`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _read(arguments[0], value, where, peer_minor)
        limit = arguments[1]
        good = limit.fullmatch(value) is not None if isinstance(limit, re.Pattern) else value in limit
        if not good:
            raise ProtocolError(f"{where} must not be {_shown(value)}.")
        return value
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ProtocolError(f"{where} must be one of {', '.join(arguments)}, not {_shown(value)}.")
        return value
    if origin is types.UnionType or origin is typing.Union:
        rest = next(a for a in arguments if a is not types.NoneType)
        return None if value is None else _read(rest, value, where, peer_minor)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ProtocolError(f"{where} must be a list, not {_shown(value)}.")
        return tuple(_read(arguments[0], item, f"{where}[{i}]", peer_minor) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ProtocolError(f"{where} must be a map, not {_shown(value)}.")
        return {
            _read(str, k, where, peer_minor): _read(arguments[1], v, f"{where}.{_shown(k)}", peer_minor)
            for k, v in value.items()
        }
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _read_record(hint, value, where, peer_minor)
    return _read_scalar(hint, value, where)


def _read_scalar(hint: type, value: Any, where: str) -> str | bool | int | float:
    if hint is str and isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ProtocolError(f"{where} has {len(value)} characters; {MAX_TEXT} are allowed.")
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise ProtocolError(f"{where} is not a finite number.")
        return float(value)
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    raise ProtocolError(f"{where} must be {names[hint]}, not {_shown(value)}.")


def _shown(value: Any) -> str:
    """A value as a sentence can hold it."""
    text = reprlib.repr(value)  # of what is nested deeply, the outermost alone
    return text if len(text) <= 60 else text[:57] + "..."
