"""Which arrays each message carries, and the checks that meshes pass wherever they enter.

| message | arrays |
|---|---|
| ``Submit`` | ``picture``: the bytes of an image file; ``vertices``, ``faces`` and perhaps ``colours`` of a mesh |
| ``Submit`` that keeps the mesh's UV map | also ``uv``, and perhaps ``texture``: the bytes of an image file in that map |
| ``Submit`` that repaints a part of it | also ``part``, ``mask`` or both |
| ``Preview`` ``picture`` | ``picture`` (H, W, 3) uint8, row 0 at the top |
| ``Preview`` ``mesh`` | ``vertices``, ``faces``, ``colours`` |
| ``Preview`` ``positions`` | ``vertices`` |
| ``Preview`` ``colours`` | ``colours`` |
| ``Preview`` ``texture`` | ``uv``, and ``texture`` (H, W, 3) uint8, row 0 at the top |
| ``Result`` | ``vertices``, ``faces``, ``uv``, ``texture``: the bytes of a PNG, ``glb``: the bytes of a GLB |
| ``Result`` of the reference alone | ``picture``: the bytes of a PNG, transparent around the object |

``vertices`` (V, 3) float32 world positions; ``faces`` (F, 3) int32, counter-clockwise from outside; ``colours`` (V, 3)
float32 in [0, 1]; ``uv`` (3F, 2) float32, one for each corner of each face in order, (0, 0) at the bottom left; ``part``
(3F,) float32 in [0, 1], for each corner how much of the new is seen there; ``mask``: the bytes of an image file in the UV
map, white where the new is seen. Bytes of files are uint8 of one dimension. Other messages carry none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import Message, Preview, Result, Submit

Array = NDArray[Any]
Arrays = Mapping[str, Array]

DTYPES = {"uint8": "u1", "int32": "i4", "float32": "f4"}
"""Element types on the wire, all little-endian."""

_FILE = ("uint8", (None,))
_PICTURE = ("uint8", (None, None, 3))
_VERTICES = ("float32", (None, 3))
_FACES = ("int32", (None, 3))
_COLOURS = ("float32", (None, 3))
_UV = ("float32", (None, 2))
_PART = ("float32", (None,))
_Specs = dict[str, tuple[str, tuple[int | None, ...]]]

_SUBMIT: _Specs = {
    **{"picture": _FILE, "vertices": _VERTICES, "faces": _FACES, "colours": _COLOURS},
    **{"uv": _UV, "texture": _FILE, "part": _PART, "mask": _FILE},
}
_SUBMIT_NEEDS = {
    **{"vertices": {"faces"}, "faces": {"vertices"}, "colours": {"vertices", "faces"}, "uv": {"vertices", "faces"}},
    **{"texture": {"uv"}, "part": {"uv", "texture"}, "mask": {"uv", "texture"}},
}
"""Which arrays of a ``Submit`` mean nothing without which others."""
_RESULT: _Specs = {"vertices": _VERTICES, "faces": _FACES, "uv": _UV, "texture": _FILE, "glb": _FILE}
_PREVIEW: dict[str, _Specs] = {
    "picture": {"picture": _PICTURE},
    "mesh": {"vertices": _VERTICES, "faces": _FACES, "colours": _COLOURS},
    "positions": {"vertices": _VERTICES},
    "colours": {"colours": _COLOURS},
    "texture": {"uv": _UV, "texture": _PICTURE},
}


def check_arrays(message: Message, arrays: Arrays) -> None:
    """Whether these are the arrays that the message carries, of the right types, shapes and ranges.

    Raises:
        ProtocolError: they are not; the sentence says which and why.
    """
    specs, needed = _expected(message, arrays)
    for name in arrays:
        if name not in specs:
            raise ProtocolError(f"{message.kind} carries no array {name[:60]!r}.")
    for name in needed:
        if name not in arrays:
            raise ProtocolError(f"{message.kind} lacks its array {name!r}.")
    for name, array in arrays.items():
        dtype, shape = specs[name]
        fits = len(shape) == array.ndim and all(w in (None, h) for w, h in zip(shape, array.shape, strict=True))
        if array.dtype.name != dtype or not fits:
            wanted = " x ".join("n" if n is None else str(n) for n in shape)
            raise ProtocolError(f"The array {name!r} of {message.kind} must be {dtype} of the shape {wanted}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ProtocolError(f"The array {name!r} of {message.kind} has values that are not finite numbers.")
        if array.size == 0:
            raise ProtocolError(f"The array {name!r} of {message.kind} is empty.")
    if "faces" in arrays:
        check_mesh(arrays["vertices"], arrays["faces"], arrays.get("colours"), arrays.get("uv"))
    if "part" in arrays:
        _check_part(arrays["part"], 3 * len(arrays["faces"]))


def _expected(message: Message, arrays: Arrays) -> tuple[_Specs, set[str]]:
    """All arrays that may be there, and those that must."""
    if isinstance(message, Preview):
        specs = _PREVIEW[message.form]
        return specs, set(specs)
    if isinstance(message, Submit):
        return _SUBMIT, {need for name in arrays for need in _SUBMIT_NEEDS.get(name, ())}
    if isinstance(message, Result):
        specs = {"picture": _FILE} if "picture" in arrays else _RESULT
        return specs, set(specs)
    return {}, set()


def _check_part(part: Array, corners: int) -> None:
    if len(part) != corners:
        raise ProtocolError(f"The part has {len(part)} weights for {corners} corners.")
    if part.min() < 0 or part.max() > 1:
        raise ProtocolError("The part has weights that are not between 0 and 1.")


def check_mesh(vertices: Array, faces: Array, colours: Array | None = None, uv: Array | None = None) -> None:
    """Whether a mesh may be handed to code that trusts its indices, such as Blender's.

    Args:
        vertices, colours: (V, 3).
        faces: (F, 3) indices.
        uv: (3F, 2).

    Raises:
        ProtocolError: a face names a vertex that is not there, a position or UV is not finite, or counts differ.
    """
    if faces.size and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise ProtocolError(f"The mesh has faces that name vertices it lacks; it has {len(vertices)} vertices.")
    if not np.isfinite(vertices).all() or (uv is not None and not np.isfinite(uv).all()):
        raise ProtocolError("The mesh has coordinates that are not finite numbers.")
    if colours is not None and len(colours) != len(vertices):
        raise ProtocolError(f"The mesh has {len(colours)} colours for {len(vertices)} vertices.")
    if uv is not None and len(uv) != 3 * len(faces):
        raise ProtocolError(f"The mesh has {len(uv)} texture coordinates for {3 * len(faces)} corners.")
