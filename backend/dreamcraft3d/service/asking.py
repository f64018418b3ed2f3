"""What a client asks for, checked, and written down as an order."""

from __future__ import annotations

from collections.abc import Callable, Collection

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES, Preset
from dreamcraft3d.priors.words import check_words
from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.going_on import Base, check_base, start_from
from dreamcraft3d.service.order import Order
from dreamcraft3d.shape.uv_map import check_uv
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.messages import Submit

FILES = ("picture", "texture", "mask")


def check_asked(
    asked: Submit, arrays: Arrays, preset: Preset, base: Base | None, vocabulary: Callable[[], Collection[str]]
) -> None:
    """Whether this can be done.

    Args:
        base: the job to go on from, or None if there is none.
        vocabulary: the words that the embedded priors know.

    Raises:
        UserError: it cannot.
    """
    if asked.base is not None or asked.base_stage is not None:
        check_base(asked, arrays, base)
    elif (asked.first == "coarse") != ("vertices" not in arrays):
        raise UserError("The stages geometry and texture start from a mesh, and coarse from none.", "Give one.")
    prompt = _prompt(asked, arrays, base)
    if not prompt and "picture" not in arrays:
        raise UserError("There is nothing to make.", 'Give a prompt, such as "a red mushroom", or a picture.')
    for words in (prompt, asked.negative.strip()):
        if words and not preset.priors.full:
            check_words(words, vocabulary())
    if asked.until != "reference" and STAGES.index(asked.until) < STAGES.index(asked.first):
        raise UserError(f"The stage {asked.until} comes before {asked.first}.", "End with a later one.")
    if "uv" in arrays:
        if asked.first != "texture":
            sentence = f"The stage {asked.first} makes a new shape, which has no place in the mesh's UV map."
            raise UserError(sentence, "Begin with texture, or leave the UV map out.")
        check_uv(arrays["vertices"], arrays["faces"], arrays["uv"])


def order_of(asked: Submit, arrays: Arrays, preset: Preset, base: Base | None, artefacts: Artefacts) -> Order:
    """What was asked for, with all that is needed of a base. Raises OSError if the disk is in the way."""
    files = {name: artefacts.keep(arrays[name].tobytes()) for name in FILES if name in arrays}
    mesh = {name: array for name, array in arrays.items() if name not in FILES}
    given = {**dict.fromkeys(FILES), **files, "mesh": artefacts.keep_mesh(mesh) if mesh else None}
    start = None
    if base is not None:
        assert asked.base_stage is not None
        start = start_from(base, asked.base_stage, _anew(asked, arrays), artefacts)
        given |= {name: getattr(base.order, name) for name in ("mesh", "texture", "mask")}
    return Order(
        prompt=_prompt(asked, arrays, base),
        negative=asked.negative.strip(),
        preset=preset,
        seed=asked.seed,
        first=asked.first,
        until=asked.until,
        start=start,
        **given,
    )


def _anew(asked: Submit, arrays: Arrays) -> bool:
    """Whether a reference is made, and not the base's used."""
    return bool(asked.prompt.strip()) or "picture" in arrays


def _prompt(asked: Submit, arrays: Arrays, base: Base | None) -> str:
    return asked.prompt.strip() if base is None or _anew(asked, arrays) else base.prompt
