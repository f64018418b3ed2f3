"""Every string that an artist sees has its Korean: what Blender looks up, and the sentences in the add-on's own source."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import pytest
from fake_layout import draw

Part = Callable[[str], ModuleType]
LANGUAGE = "ko_KR"
FOR_PROGRAMS = {
    # names in Blender, and what is written into files
    "Base Color", "Color", "Surface", "Roughness", "Exported", "{} Colors", "Scripts/python.exe", "DreamCraft3D: {}",
    "Location", "Rotation", "Scale", "Vector", "NodeReroute",
    "a an the and with of in on at for from under over by to", "{}{}{}:{}:{}\n", "{}{}", "{} {}", "{}",
    # what other programs say, and what is said to them
    "No space left", "Errno 28", "There is not enough space", "ensurepip is not", "No module named venv",
    "No module named ensurepip", "No module named pip", "Name or service not known",
    "Temporary failure in name resolution", "Max retries exceeded", "getaddrinfo failed", "Connection refused",
    "NewConnectionError", "ReadTimeoutError", "ProxyError", "No matching distribution", "Could not find a version",
    "Permission denied", "Errno 13", "dreamcraft3d is here:",
    "import dreamcraft3d.cli, dreamcraft3d as d; print({}, d.__version__)",
    "import shutil, sys; shutil.rmtree(sys.argv[1])",
    # logs
    "a tick failed",
}  # fmt: skip
"""Strings in the source that look as if they were shown, and are not."""
BACKEND = Path(__file__).parents[2] / "backend" / "dreamcraft3d"
TELLS_ARTISTS = [
    BACKEND / f"{name}.py"
    for name in (
        "export/unwrap", "models/download", "models/folder", "picture/framing", "picture/load", "picture/matting",
        "pipeline/coarse", "pipeline/driver", "pipeline/given", "pipeline/ladder", "pipeline/reference", "priors/memory",
        "priors/words", "service/asking", "service/desk", "service/downloads", "service/engine", "service/going_on",
        "service/recovery", "service/register", "service/running", "service/sockets", "service/steering", "service/store",
        "shape/dmtet", "shape/meshio", "shape/sdf", "shape/uv_map",
    )
]  # fmt: skip
"""Files of the backend whose sentences come as far as Blender; others' are for whoever serves or installs it."""
FOR_THOSE_WHO_SERVE = {"{} {}", "{}: {}", "{}: {}.", "{}, {}, seed {}", "ALTER TABLE jobs ADD COLUMN {}"}
PARTS = {
    # of sentences
    "word", "words", "The computer", "The graphics card",
    # of other files, most of whose sentences are for a terminal
    "The newest checkpoint is damaged; going on from the one before it.",
    "The checkpoint is damaged; the stage begins anew.", "{} in the data folder says more.",
    "The disk of the backend is full.",
}  # fmt: skip
"""What is in the backend's table though the files have it otherwise."""


def sources(part: Part) -> list[Path]:
    """The add-on's files, and the protocol's client, which has sentences for the artist, too."""
    client = sys.modules["dreamcraft3d_protocol.client"].__file__ or ""
    root = Path(part("pump").__file__ or "").parent
    return [Path(client), *(file for file in root.rglob("*.py") if "translations" not in file.parts)]


def sentences(file: Path) -> Iterator[str]:
    """Strings of a source file that look as if they were shown; ``{}`` stands for what an f-string fills in."""
    return (text for text, _ in placed_sentences(file))


def placed_sentences(file: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """With their lines and columns."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    statements = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    within = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        shown = re.match(r"\{\}|[A-Z][a-z]", text) or (" " in text and re.match("[A-Za-z]", text))
        if shown and not {id(node)} & (statements | within) and not text.startswith("ShaderNode"):
            yield text, (node.lineno, node.col_offset)


def told(file: Path) -> Iterator[str]:
    """Whole sentences of a file of the backend, less those of its log."""
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    logged = {
        (part.lineno, part.col_offset)
        for call in calls
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log"
        for part in ast.walk(call)
        if isinstance(part, ast.expr)
    }
    for text, place in placed_sentences(file):
        if re.fullmatch(r"(\{\}|[A-Z]).* .*([.?]|\{\})", text, re.DOTALL) and place not in logged:
            yield text


def labels(one: Any) -> Iterator[str]:
    """What Blender shows of a class: its label, its tooltip, and those of its properties."""
    if issubclass(one, bpy.types.Operator | bpy.types.Panel | bpy.types.Menu | bpy.types.FileHandler):
        yield one.bl_label
    if issubclass(one, bpy.types.Operator):
        yield one.__doc__ or one.bl_description
    for known in one.bl_rna.properties:
        if known.identifier in getattr(one, "__annotations__", {}):
            texts = [known.name, known.description] if not known.is_hidden else []
            yield from texts
            for item in known.enum_items if known.type == "ENUM" else ():
                yield from (item.name, item.description)


@pytest.fixture
def words(installed: str, part: Part) -> dict[str, str]:
    return dict(part("translations").LANGUAGES[LANGUAGE])


def test_all_labels_and_tooltips_have_their_korean(words: dict[str, str], part: Part) -> None:
    shown = {text for one in part("registration").CLASSES for text in labels(one) if text}
    assert sorted(shown - words.keys()) == []


def test_all_sentences_have_their_korean(words: dict[str, str], part: Part) -> None:
    shown = {text for file in sources(part) for text in sentences(file)} - FOR_PROGRAMS
    assert len(shown) > 100
    assert sorted(shown - words.keys()) == []


def test_what_the_backend_tells_an_artist_has_its_korean(words: dict[str, str]) -> None:
    shown = {text for file in TELLS_ARTISTS for text in told(file)} - FOR_THOSE_WHO_SERVE
    assert len(shown) > 100
    assert sorted(shown - words.keys()) == []


def test_no_translation_is_left_of_a_sentence_that_is_said_no_more(words: dict[str, str], part: Part) -> None:
    said = {text for file in sources(part) for text in sentences(file)}
    said |= {text for one in part("registration").CLASSES for text in labels(one)}
    said |= {text for file in TELLS_ARTISTS for text in told(file)} | PARTS
    assert sorted(words.keys() - said - set(part("translations.ko_KR").COMPOSED)) == []


def test_a_translation_has_the_places_of_its_key_and_no_word_is_left_out(words: dict[str, str]) -> None:
    for english, korean in words.items():
        places = {f"{{{number}}}" for number in range(english.count("{}"))}
        assert set(re.findall(r"\{\d*\}", korean)) == places, english
        assert korean.strip()
        assert korean.endswith(".") == english.endswith(".") or english.endswith("..."), english


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("Waiting, 30%", "대기 중, 30%"),
        ("Picture (1 of 4)", "그림 (1/4)"),
        ("3 min left in this stage", "이 단계의 남은 시간: 3분"),
        ("There is no picture at /a b/egg, 2.png. Choose another, or clear the field.",
         "/a b/egg, 2.png에 그림이 없습니다. 다른 그림을 고르거나 칸을 비우세요."),
        ("About 40 s, 1.5 GB of memory", "약 40초, 메모리 1.5GB"),
        ("7 s left in this stage, 2 min until it is done", "이 단계의 남은 시간: 7초, 완료까지 2분"),
        ("1.5 GB of memory", "메모리 1.5GB"),
        ("The connection to the backend broke. Trying again.", "백엔드와의 연결이 끊어졌습니다. 다시 시도합니다."),
        ("For larger presets; Demo and Draft need none. They lie in /a b/models, where 182 GB are free.",
         "더 큰 프리셋을 위한 것으로, 데모와 초안에는 필요 없습니다. /a b/models에 놓이며, 182GB가 남아 있습니다."),
        ("The worker is started again. It was ended by SIGKILL, perhaps because memory ran out.",
         "작업 프로세스를 다시 시작합니다. SIGKILL로 끝났습니다. 메모리가 모자란 탓일 수 있습니다."),
        ("The disk of the backend is full. The job waits until that has changed.",
         "백엔드의 디스크가 가득 찼습니다. 그것이 바뀔 때까지 작업이 기다립니다."),
        ("A sentence that nobody has translated.", "A sentence that nobody has translated."),
    ],
)  # fmt: skip
def test_a_sentence_is_translated_with_what_is_filled_in(english: str, korean: str, part: Part, installed: str) -> None:
    assert part("translations").translate(english, LANGUAGE) == korean


def test_a_word_that_blender_has_untranslated_is_looked_up_in_the_add_ons_own_context(
    words: dict[str, str], part: Part
) -> None:
    own = part("translations").OWN
    source = part("props.form").DREAMCRAFT3D_PG_form.bl_rna.properties["source"]
    assert source.translation_context == own
    assert own in part("translations").CONTEXTS


def test_why_an_object_cannot_be_refined_is_said_in_korean(
    blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("panels.refine", "panels.words"):
        monkeypatch.setattr(part(name), "said", lambda text: part("translations").translate(text, LANGUAGE))
    bpy.ops.curve.primitive_bezier_curve_add()
    panel = draw(part("panels.refine").DREAMCRAFT3D_PT_refine)
    assert "먼저 오브젝트를 메쉬로" in " ".join(panel.said)


def test_in_english_nothing_is_translated(blender: Any, part: Part) -> None:
    assert part("translations").said("Waiting, 30%") == "Waiting, 30%"
