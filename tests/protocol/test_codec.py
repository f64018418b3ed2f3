"""Messages as frames: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import letters

from dreamcraft3d_protocol import VERSION
from dreamcraft3d_protocol.arrays import Array, check_mesh
from dreamcraft3d_protocol.codec import MAX_HEADER_BYTES, decode, encode
from dreamcraft3d_protocol.errors import ProtocolError
from dreamcraft3d_protocol.messages import (
    BACKEND_KINDS,
    CLIENT_KINDS,
    Cancel,
    Hello,
    Message,
    Ping,
    Preview,
    Result,
    Submit,
)

ALL_KINDS = {**CLIENT_KINDS, **BACKEND_KINDS}
JOB = str(uuid.UUID(int=1))
SUBMIT = Submit(job=JOB, prompt="a red mushroom", preset="draft", seed=1)
VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
FACES = np.array([[0, 1, 2]], np.int32)
MESH = {"vertices": VERTICES, "faces": FACES}


def header(message: Message, arrays: list[Any] | None = None, **changes: Any) -> bytes:
    """A header as a careless or hostile peer may write it; a change to ``...`` leaves the field out."""
    values = {"kind": message.kind, **dataclasses.asdict(message), "arrays": arrays or []} | changes
    return msgpack.packb({k: v for k, v in values.items() if v is not ...})


def described(name: str = "picture", dtype: Any = "uint8", shape: Any = (4,)) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(letters())
def test_every_message_comes_out_as_it_went_in(letter: tuple[Message, dict[str, Array]]) -> None:
    message, arrays = letter
    read, came = decode(encode(message, arrays), ALL_KINDS)
    assert read == message
    assert came.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(came[name], array)
        assert came[name].dtype == array.dtype


def test_arrays_are_copied_neither_on_the_way_out_nor_in() -> None:
    frames = encode(SUBMIT, MESH)
    assert np.shares_memory(np.frombuffer(frames[1], np.float32), VERTICES)
    _, came = decode(frames, CLIENT_KINDS)
    assert np.shares_memory(came["vertices"], VERTICES)


def test_a_large_mesh_crosses_a_real_socket_and_arrives_read_only() -> None:
    vertices = np.random.default_rng(0).random((100_000, 3), np.float32)
    faces = np.random.default_rng(0).integers(0, 100_000, (200_000, 3), np.int32)
    with zmq.Context() as context, context.socket(zmq.PAIR) as left, context.socket(zmq.PAIR) as right:
        right.connect(f"tcp://127.0.0.1:{left.bind_to_random_port('tcp://127.0.0.1')}")
        left.send_multipart(encode(SUBMIT, {"vertices": vertices, "faces": faces}), copy=False)
        assert right.poll(5000)
        _, came = decode(right.recv_multipart(copy=False), CLIENT_KINDS)
    np.testing.assert_array_equal(came["vertices"], vertices)
    np.testing.assert_array_equal(came["faces"], faces)
    with pytest.raises(ValueError, match="read-only"):
        came["faces"][0] = 0


def test_an_array_that_is_a_view_arrives_as_the_view_shows_it() -> None:
    backwards = VERTICES[::-1, ::-1]
    _, came = decode(encode(SUBMIT, {"vertices": backwards, "faces": FACES}), CLIENT_KINDS)
    np.testing.assert_array_equal(came["vertices"], backwards)


def test_unaligned_bytes_become_an_aligned_array() -> None:
    frames = encode(SUBMIT, MESH)
    shifted = memoryview(b"x" + bytes(frames[1]))[1:]
    _, came = decode([frames[0], shifted, frames[2]], CLIENT_KINDS)
    assert came["vertices"].flags.aligned
    np.testing.assert_array_equal(came["vertices"], VERTICES)


BROKEN: dict[str, tuple[Callable[[], list[bytes]], str]] = {
    "no frames": (lambda: [], "header is missing"),
    "an empty header": (lambda: [b""], "not msgpack"),
    "noise": (lambda: [b"\xc1\xff\x00"], "not msgpack"),
    "trailing bytes": (lambda: [header(Ping()) + b"x"], "not msgpack"),
    "deep nesting": (lambda: [b"\x91" * 100_000], "not msgpack"),
    "a text that is no unicode": (lambda: [b"\x81\xa4kind\xa2\xff\xfe"], "not msgpack"),
    "a list for a header": (lambda: [msgpack.packb([1])], "not a map"),
    "a header that is too long": (lambda: [b"\x00" * (MAX_HEADER_BYTES + 1)], "too long"),
    "no kind": (lambda: [header(Ping(), kind=...)], "no message of the kind None"),
    "a kind that is not text": (lambda: [header(Ping(), kind=[1])], "no message of the kind"),
    "sides that overflow beside one of 0": (
        lambda: [header(SUBMIT, [described(shape=[0, 2**31 - 1, 2**31 - 1, 2**31 - 1])]), b""],
        "no shape that can be",
    ),
    "an unknown kind": (lambda: [header(Ping(), kind="pickle")], "'pickle'"),
    "a kind of the other side": (lambda: [header(Ping(), kind="pong")], "'pong'"),
    "no list of arrays": (lambda: [header(Ping(), arrays=...)], "arrays"),
    "a missing field": (lambda: [header(SUBMIT, prompt=...)], "lacks the field 'prompt'"),
    "an unknown field": (lambda: [header(SUBMIT, path="/etc/passwd")], "no field 'path'"),
    "a number for a text": (lambda: [header(SUBMIT, prompt=1)], "submit.prompt must be a text"),
    "bytes for a text": (lambda: [header(SUBMIT, prompt=b"x")], "submit.prompt must be a text"),
    "a text for a number": (lambda: [header(SUBMIT, seed="1")], "submit.seed must be a whole number"),
    "a truth for a number": (lambda: [header(SUBMIT, seed=True)], "submit.seed must be a whole number"),
    "a negative seed": (lambda: [header(SUBMIT, seed=-1)], "submit.seed must not be -1"),
    "a seed that is too large": (lambda: [header(SUBMIT, seed=2**32)], "submit.seed must not be"),
    "an unknown stage": (lambda: [header(SUBMIT, until="paint")], "submit.until must be one of"),
    "a prompt that is too long": (lambda: [header(SUBMIT, prompt="x" * 5000)], "5000 characters"),
    "a job that is a path": (lambda: [header(SUBMIT, job="../../../../etc/passwd")], "submit.job"),
    "a job in capitals": (lambda: [header(SUBMIT, job=str(uuid.UUID(int=2**127)).upper() + "A")], "submit.job"),
    "a job with a line end": (lambda: [header(SUBMIT, job=JOB + "\n")], "submit.job"),
    "an extension type": (lambda: [header(SUBMIT, prompt=msgpack.ExtType(5, b"x"))], "submit.prompt"),
    "a time": (lambda: [header(SUBMIT, prompt=msgpack.Timestamp(1))], "submit.prompt"),
    "fewer frames than arrays": (lambda: [header(SUBMIT, [described()])], "0 frames"),
    "more frames than arrays": (lambda: [header(SUBMIT), b"abcd"], "1 frames"),
    "too many arrays": (lambda: [header(SUBMIT, [described(str(i)) for i in range(9)]), *[b"abcd"] * 9], "more than"),
    "an array that is not described": (lambda: [header(SUBMIT, ["picture"]), b"abcd"], "described"),
    "an array with more to it": (lambda: [header(SUBMIT, [described() | {"x": 1}]), b"abcd"], "described"),
    "an array without a name": (lambda: [header(SUBMIT, [described(name=3)]), b"abcd"], "name"),  # type: ignore[arg-type]
    "an array twice": (lambda: [header(SUBMIT, [described(), described()]), b"abcd", b"abcd"], "twice"),
    "an array of objects": (lambda: [header(SUBMIT, [described(dtype="object")]), b"abcd"], "must be one of"),
    "an array of an odd type": (lambda: [header(SUBMIT, [described(dtype=["u1"])]), b"abcd"], "must be one of"),
    "too few bytes": (lambda: [header(SUBMIT, [described()]), b"abc"], "does not fill"),
    "too many bytes": (lambda: [header(SUBMIT, [described()]), b"abcde"], "does not fill"),
    "a negative shape": (lambda: [header(SUBMIT, [described(shape=[-1, -4])]), b"abcd"], "no shape"),
    "a shape of truths": (lambda: [header(SUBMIT, [described(shape=[True])]), b"a"], "no shape"),
    "a shape that overflows": (lambda: [header(SUBMIT, [described(shape=[2**63, 2])]), b""], "no shape"),
    "a shape of many dimensions": (lambda: [header(SUBMIT, [described(shape=[1] * 64)]), b"a"], "no shape"),
    "an empty array": (lambda: [header(SUBMIT, [described(shape=[0])]), b""], "empty"),
    "an array nobody asked for": (lambda: [header(SUBMIT, [described("weights")]), b"abcd"], "no array 'weights'"),
    "an array for a message without": (lambda: [header(Cancel(JOB), [described()]), b"abcd"], "no array"),
    "faces alone": (lambda: [header(SUBMIT, [described("faces", "int32", [1, 3])]), b"\0" * 12], "'vertices'"),
    "floats for bytes": (lambda: [header(SUBMIT, [described(dtype="float32", shape=[1])]), b"abcd"], "must be uint8"),
    "flat vertices": (
        lambda: [
            header(SUBMIT, [described("vertices", "float32", [3, 2]), described("faces", "int32", [1, 3])]),
            b"\0" * 24,
            b"\0" * 12,
        ],
        "'vertices'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_malformed_is_refused_with_a_sentence(what: str) -> None:
    make, words = BROKEN[what]
    with pytest.raises(ProtocolError) as refusal:
        decode(make(), CLIENT_KINDS)
    assert words in str(refusal.value)
    assert str(refusal.value).endswith(".")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(number: float) -> None:
    with pytest.raises(ProtocolError, match="not a finite number"):
        decode([header(Result(JOB, {"psnr": number}))], BACKEND_KINDS)
    with pytest.raises(ProtocolError, match="finite"):
        encode(SUBMIT, {"vertices": np.full_like(VERTICES, number), "faces": FACES})


OWN = MESH | {"uv": np.zeros((3 * len(FACES), 2), np.float32), "texture": np.ones(4, np.uint8)}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"uv": OWN["uv"]}, "lacks its array 'faces'|lacks its array 'vertices'"),
        (MESH | {"texture": OWN["texture"]}, "lacks its array 'uv'"),
        (MESH | {"uv": OWN["uv"], "mask": np.ones(4, np.uint8)}, "lacks its array 'texture'"),
        (OWN | {"part": np.zeros(2, np.float32)}, "2 weights for 3 corners"),
        (OWN | {"part": np.full(3 * len(FACES), 1.5, np.float32)}, "between 0 and 1"),
        (MESH | {"uv": np.zeros((2, 2), np.float32)}, "2 texture coordinates for 3 corners"),
    ],
    ids=["no mesh", "no UV map", "no texture", "too few weights", "too heavy", "too few corners"],
)
def test_what_is_repainted_must_have_its_place(arrays: dict[str, Array], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        encode(SUBMIT, arrays)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_noise_never_raises_anything_but_a_protocol_error(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode(frames, CLIENT_KINDS)


@settings(deadline=None)
@given(st.data())
def test_one_changed_byte_never_raises_anything_but_a_protocol_error(data: st.DataObject) -> None:
    frames = [bytes(frame) for frame in encode(SUBMIT, MESH)]
    which = data.draw(st.integers(0, len(frames) - 1))
    where = data.draw(st.integers(0, len(frames[which]) - 1))
    changed = bytearray(frames[which])
    changed[where] = data.draw(st.integers(0, 255))
    frames[which] = bytes(changed)
    try:
        _, arrays = decode(frames, CLIENT_KINDS)
    except ProtocolError:
        return
    if "faces" in arrays:
        check_mesh(arrays["vertices"], arrays["faces"])


def test_a_field_of_a_higher_minor_version_is_ignored_and_of_ours_refused() -> None:
    frames = [header(Cancel(JOB), reason="tea")]
    assert decode(frames, CLIENT_KINDS, peer_minor=VERSION[1] + 1)[0] == Cancel(JOB)
    with pytest.raises(ProtocolError, match="'reason'"):
        decode(frames, CLIENT_KINDS, peer_minor=VERSION[1])


def test_the_handshake_of_a_higher_minor_version_is_understood() -> None:
    hello = Hello(VERSION[0], VERSION[1] + 1, "blender", "9")
    assert decode([header(hello, colour="red")], CLIENT_KINDS)[0] == hello


@pytest.mark.parametrize("index", [-1, 3, 2**31 - 1])
def test_a_face_that_names_no_vertex_is_refused_on_both_sides(index: int) -> None:
    faces = np.array([[0, 1, index]], np.int32)
    with pytest.raises(ProtocolError, match="3 vertices"):
        encode(SUBMIT, {"vertices": VERTICES, "faces": faces})
    frames = encode(SUBMIT, MESH)
    frames[2] = faces.tobytes()
    with pytest.raises(ProtocolError, match="3 vertices"):
        decode(frames, CLIENT_KINDS)


def test_counts_that_differ_are_refused() -> None:
    with pytest.raises(ProtocolError, match="2 colours for 3 vertices"):
        encode(SUBMIT, MESH | {"colours": VERTICES[:2]})
    with pytest.raises(ProtocolError, match="2 texture coordinates for 3 corners"):
        check_mesh(VERTICES, FACES, uv=np.zeros((2, 2), np.float32))


def test_an_array_of_another_type_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="float32"):
        encode(SUBMIT, {"vertices": VERTICES.astype(np.float64), "faces": FACES})


def test_a_preview_carries_what_its_form_says() -> None:
    colours = Preview(JOB, 1, "texture", "colours", "t", "t")
    assert decode(encode(colours, {"colours": VERTICES}), BACKEND_KINDS)[0] == colours
    with pytest.raises(ProtocolError, match="no array 'vertices'"):
        encode(colours, {"vertices": VERTICES, "colours": VERTICES})


def test_a_picture_says_what_it_shows() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    samples = Preview(JOB, 1, "texture", "picture", "", None, "samples", "round 2, t' 0.3")
    message, arrays = decode(encode(samples, {"picture": pixels}), BACKEND_KINDS)
    assert message == samples
    np.testing.assert_array_equal(arrays["picture"], pixels)
    with pytest.raises(ProtocolError, match=r"preview\.subject must be one of object, reference, samples"):
        decode([header(samples, subject="cat"), pixels.tobytes()], BACKEND_KINDS)


@pytest.mark.parametrize("packed", [msgpack.packb("kind"), msgpack.packb("job")])
def test_a_value_nested_as_deeply_as_msgpack_allows_is_refused_with_a_short_sentence(packed: bytes) -> None:
    kind = b"" if packed == msgpack.packb("kind") else msgpack.packb("kind") + msgpack.packb("attach")
    header = bytes([0x81 if not kind else 0x82]) + kind + packed + b"\x91" * 1015 + b"\x90"
    with pytest.raises(ProtocolError, match=r"\[") as refused:
        decode([header], CLIENT_KINDS)
    assert len(str(refused.value)) < 150
