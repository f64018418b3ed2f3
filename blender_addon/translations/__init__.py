# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages: a file each, with a plain dict from English, and another for what the backend tells.

Labels and tooltips are Blender's to look up. Sentences are made in English everywhere, and translated where they are drawn,
by :func:`said`: ``{}`` in a key stands for anything, a number or a name, and ``{0}``, ``{1}`` in its translation for what
that was. To add a language, copy a file, translate its values, and name it in ``LANGUAGES``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import bpy

from . import ko_KR, ko_KR_backend

LANGUAGES: dict[str, Mapping[str, str]] = {"ko_KR": ko_KR_backend.WORDS | ko_KR.WORDS}
OWN = "DreamCraft3D"
"""The context of words that Blender has in its own catalogue, untranslated or meant otherwise."""
CONTEXTS = ("*", "Operator", OWN)
"""Where Blender looks a word up: everywhere, on buttons, and where a property names the context."""
UNIT_LETTERS = 3
_END = re.compile(r"(?<=[.?]) (?=[A-Z])")
"""Between two sentences."""


def register(addon: str) -> None:
    """Give Blender the words, under the add-on's name."""
    tables = {
        language: {(context, english): word for english, word in words.items() for context in CONTEXTS}
        for language, words in LANGUAGES.items()
    }
    bpy.app.translations.register(addon, tables)


def unregister(addon: str) -> None:
    """Take them back."""
    bpy.app.translations.unregister(addon)


def said(english: str) -> str:
    """A sentence in the language of the interface; one that is not in the table stays as it is."""
    language = bpy.app.translations.locale
    if language not in LANGUAGES or not bpy.context.preferences.view.use_translate_interface:
        return english
    return translate(english, language)


@lru_cache(maxsize=1000)
def translate(english: str, language: str) -> str:
    """A sentence in one of ``LANGUAGES``, and so what stands for ``{}`` in it."""
    words = LANGUAGES[language]
    if english in words:
        return words[english]
    for pattern, word in _patterns(language):
        found = pattern.fullmatch(english)
        if found:
            return word.format(*(translate(part, language) for part in found.groups()))
    parts = _END.split(english)
    return " ".join(translate(part, language) for part in parts) if len(parts) > 1 else english


@lru_cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """The keys with ``{}``, those that say most first."""
    keys = sorted((key for key in LANGUAGES[language] if "{}" in key), key=lambda key: -len(key.replace("{}", "")))
    return [(_pattern(key), LANGUAGES[language][key]) for key in keys]


def _pattern(key: str) -> re.Pattern[str]:
    """A key as it is looked for; one that is little more than a unit (``{} min``) takes numbers alone."""
    unit = re.fullmatch(r"[{}A-Za-z ]+", key) and len(re.findall("[A-Za-z]", key)) <= UNIT_LETTERS
    return re.compile(re.escape(key).replace(r"\{\}", r"(\d.*?)" if unit else "(.+?)"), re.DOTALL)
