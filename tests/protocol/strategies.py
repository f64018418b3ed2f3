"""Any message of the protocol, made from its annotations, with arrays that fit it."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Annotated, Any, Literal

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.messages import (
    BACKEND_KINDS,
    CLIENT_KINDS,
    MAX_TEXT,
    Message,
    Preview,
    Result,
    Submit,
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """What a field with this annotation may hold."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated and isinstance(arguments[1], re.Pattern):
        return st.uuids().map(str)
    if origin is Annotated:
        return st.sampled_from([arguments[1][0], arguments[1][-1], 12345])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(st.none() if a is types.NoneType else values(a) for a in arguments))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=20), values(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(hint):
        return records(hint)
    return {
        str: st.text(st.characters(codec="utf-8"), max_size=40) | st.just("x" * MAX_TEXT),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
    }[hint]


def records(record: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(record, include_extras=True)
    return st.builds(record, **{f.name: values(hints[f.name]) for f in dataclasses.fields(record)})


def floats(*shape: int, low: float = -10, high: float = 10) -> st.SearchStrategy[Array]:
    return hnp.arrays(np.float32, shape, elements=st.floats(low, high, width=32))


def file_bytes() -> st.SearchStrategy[Array]:
    return st.binary(min_size=1, max_size=50).map(lambda b: np.frombuffer(b, np.uint8))


@st.composite
def mesh(draw: st.DrawFn, *wanted: str) -> dict[str, Array]:
    v, f = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    made = {
        "vertices": floats(v, 3),
        "faces": hnp.arrays(np.int32, (f, 3), elements=st.integers(0, v - 1)),
        "colours": floats(v, 3, low=0, high=1),
        "uv": floats(3 * f, 2),
        "texture": file_bytes(),
        "glb": file_bytes(),
        "part": floats(3 * f, low=0, high=1),
        "mask": file_bytes(),
    }
    return {name: draw(made[name]) for name in wanted}


@st.composite
def picture(draw: st.DrawFn) -> Array:
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), 3)
    return draw(hnp.arrays(np.uint8, shape))


def arrays_for(message: Message) -> st.SearchStrategy[dict[str, Array]]:
    """Arrays that this message may carry."""
    if isinstance(message, Submit):
        image = st.fixed_dictionaries({"picture": file_bytes()})
        body, laid = ("vertices", "faces"), ("vertices", "faces", "uv")
        own = st.one_of(
            mesh(*laid), mesh(*laid, "colours"), mesh(*laid, "texture", "part"), mesh(*laid, "texture", "mask")
        )
        return st.one_of(st.just({}), image, mesh(*body), mesh(*body, "colours"), own)
    if isinstance(message, Result):
        image = st.fixed_dictionaries({"picture": file_bytes()})
        return st.one_of(image, mesh("vertices", "faces", "uv", "texture", "glb"))
    if isinstance(message, Preview):
        forms: dict[str, st.SearchStrategy[dict[str, Array]]] = {
            "picture": st.fixed_dictionaries({"picture": picture()}),
            "mesh": mesh("vertices", "faces", "colours"),
            "positions": mesh("vertices"),
            "colours": mesh("colours"),
            "texture": st.fixed_dictionaries({"uv": floats(6, 2), "texture": picture()}),
        }
        return forms[message.form]
    return st.just({})


def letters() -> st.SearchStrategy[tuple[Message, dict[str, Array]]]:
    """A message of any kind, and its arrays."""
    kinds = [*CLIENT_KINDS.values(), *BACKEND_KINDS.values()]
    return st.one_of(*(records(kind) for kind in kinds)).flatmap(lambda m: st.tuples(st.just(m), arrays_for(m)))
