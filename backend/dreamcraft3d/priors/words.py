"""Words for the embedded priors: view words, the tokenizer over the captions' vocabulary, and help for unknown words."""

from __future__ import annotations

import difflib
import functools
import json
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.colour_names import COLOUR_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IDENTIFIER = "[v]"
"""The DreamBooth identifier: a word of the vocabulary that no caption uses."""
REFERENCE_VIEW = "straight front view"
"""The words for the exact front (azimuth 0, elevation 0) that a reference picture shows."""
NORMAL_MAP = "normal map of"
MAX_TOKENS = 20
MAX_WORDS = 11
"""What a prompt may have: 20 tokens less start, end, article, ``normal map of`` and three view words."""
TOKENIZER = Path(__file__).with_name("embedded_weights") / "tokenizer" / "tokenizer.json"
SYNONYMS = Path(__file__).with_name("synonyms.toml")
_ARTICLES = frozenset(("a", "an", "the"))
_PREPOSITIONS = frozenset(["with", "of", "in", "on", "at", "for", "from", "under", "over", "by", "to"])
_FILLER = _ARTICLES | _PREPOSITIONS | {"and"}
_WORD = re.compile(r"\[v\]|[a-z0-9]+")


def view_words(azimuth: float, elevation: float, threshold: float = 45.0) -> str:
    """``front view``, ``side view``, ``back view`` or ``overhead view`` of a camera, angles in degrees."""
    folded = abs((azimuth + 180) % 360 - 180)
    if elevation > 60:
        return "overhead view"
    if folded < threshold:
        return "front view"
    return "back view" if folded > 180 - threshold else "side view"


def split_words(text: str) -> list[str]:
    """The words of a prompt, lower case, punctuation dropped."""
    return _WORD.findall(text.lower())


def build_tokenizer(captions: Iterable[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over every word of the captions."""
    # imported here, as prompts are also checked in a process that must not load the libraries of the models
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for caption in captions for word in split_words(caption)} | {IDENTIFIER})
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<start>", "<end>", "<unknown>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern=Regex(r"\[v\]|[a-z0-9]+"), behavior="removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
        model_max_length=MAX_TOKENS,
    )


def known_words() -> frozenset[str]:
    """The vocabulary of the embedded priors, read without their libraries."""
    return frozenset(json.loads(TOKENIZER.read_text(encoding="utf-8"))["model"]["vocab"])


def with_article(words: str) -> str:
    """``an apple``, ``a pear``."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


@dataclass(frozen=True)
class CheckedPrompt:
    """A prompt in words that the embedded priors know.

    Attributes:
        text: the prompt to use: "a red car".
        replaced: words as typed, and those that took their place: {"automobile": "car"}.
        dropped: words as typed that say nothing about the object: ["cute"].
    """

    text: str
    replaced: dict[str, str]
    dropped: list[str]


@functools.cache
def _synonyms() -> dict[str, Any]:
    return tomllib.loads(SYNONYMS.read_text(encoding="utf-8"))


def check_words(prompt: str, vocabulary: Collection[str]) -> CheckedPrompt:
    """Put a prompt into the words of the captions, by the table ``synonyms.toml`` and by singular and plural.

    Articles and prepositions pass. A word that the model would ignore is never left in: a run does not start on it.

    Args:
        prompt: what the artist typed.
        vocabulary: the words of the captions (``tokenizer.get_vocab()``).

    Raises:
        UserError: the prompt names no object, is too long for the model, or has unknown words; it then lists them with
            the nearest known ones.
    """
    table = _synonyms()
    synonyms: dict[str, str] = table["synonyms"] | dict.fromkeys(table["dropped"], "")
    typed = _typed_words(prompt)
    kept, unknown, dropped, replaced = [], [], [], {}
    while typed:
        length = next((n for n in (3, 2, 1) if " ".join(typed[:n]) in synonyms), 1)
        phrase, typed = " ".join(typed[:length]), typed[length:]
        known = _known(phrase, vocabulary, synonyms)
        if known is None:
            unknown.append(phrase)
        elif known:
            kept += known.split()
            if known != phrase:
                replaced[phrase] = known
        elif phrase not in _FILLER:
            dropped.append(phrase)
    if unknown:
        raise _unknown_words(unknown, vocabulary, synonyms)
    if set(kept) <= _FILLER | COLOUR_WORDS | set(table["describing"]) | {IDENTIFIER}:
        raise UserError("The prompt names no object.", 'Say what to make, such as "a red mushroom".')
    while kept[0] in _FILLER:
        kept = kept[1:]
    if len(kept) > MAX_WORDS:
        raise UserError(
            f"The prompt has {len(kept)} words; the embedded priors read at most {MAX_WORDS}.", "Shorten it."
        )
    return CheckedPrompt(with_article(" ".join(kept)), replaced, dropped)


def class_noun(prompt: str) -> str:
    """What kind of thing a prompt is about: the "class" of DreamBooth's "a [v] class".

    It is the last word before the first comma or other punctuation mark, or before the first preposition after it:
    "mushroom" for "a red mushroom with white spots, on grass". Words that only ask for a kind or quality of picture
    ("a photo of") are passed over.

    Raises:
        UserError: the prompt has no word that could be a noun.
    """
    dropped = set(_synonyms()["dropped"])
    nouns: list[str] = []
    for clause in re.split(r"[,.;:!?()]", prompt):
        words = [word for word in _typed_words(clause) if word != IDENTIFIER]
        for i, word in enumerate(words):
            if word in _PREPOSITIONS and nouns:
                break
            if word not in _FILLER and word not in dropped and " ".join(words[i : i + 2]) not in dropped:
                nouns.append(word)
        if nouns:
            return nouns[-1]
    if every := [word for word in _typed_words(prompt) if word not in _FILLER]:
        return every[-1]
    raise UserError("The prompt names no object.", 'Say what to make, such as "a red mushroom".')


def without_colours(prompt: str) -> str:
    """A prompt less its colours, as normal maps are captioned: ``a red and white mushroom`` is ``a mushroom``."""
    words = re.sub(rf"\b({'|'.join(sorted(COLOUR_WORDS))})( and (?=\w))?\b ?", "", prompt).split()
    return with_article(" ".join(word for word in words if word not in {"a", "an"}))


def identified(prompt: str) -> str:
    """DreamBooth's words for one object: "a [v] mushroom" for "a red mushroom"; see :func:`class_noun`.

    How it looks is for the identifier to learn. A prompt that has the identifier already is left as it is.
    """
    return prompt if IDENTIFIER in prompt else f"a {IDENTIFIER} {class_noun(prompt)}"


def _typed_words(prompt: str) -> list[str]:
    """The words of any script, lower case, without accents and possessive endings."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", prompt.lower()) if not unicodedata.combining(c))
    return re.findall(r"\[v\]|[^\W_]+", re.sub(r"['\u2019]s?\b", "", plain))


def _known(phrase: str, vocabulary: Collection[str], synonyms: dict[str, str]) -> str | None:
    """The known words for a typed word or phrase, "" for one to drop, None for one that is unknown."""
    if phrase in _ARTICLES:
        return ""
    if phrase in vocabulary:
        return phrase
    if phrase in synonyms:
        return synonyms[phrase]
    if phrase in _PREPOSITIONS:
        return ""
    for form in _other_numbers(phrase):
        if form in synonyms:
            return synonyms[form]
        if form in vocabulary:
            return form
    return None


def _other_numbers(word: str) -> list[str]:
    """What may be the singular or the plural of a word."""
    endings = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
    singulars = [word.removesuffix(plural) + singular for plural, singular in endings if word.endswith(plural)]
    return [*singulars, word + "s"] if len(word) > 2 else []


def _unknown_words(unknown: list[str], vocabulary: Collection[str], synonyms: dict[str, str]) -> UserError:
    known = {word: word for word in vocabulary if word.isalpha() and len(word) > 2}
    known |= {word: meaning for word, meaning in synonyms.items() if meaning}
    near = [known[match] for word in unknown for match in difflib.get_close_matches(word, known, n=3, cutoff=0.7)]
    quoted = [f'"{word}"' for word in unknown]
    listed = " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
    hint = f"Did you mean: {', '.join(dict.fromkeys(near))}?" if near else "Try a plainer word, or another preset."
    words = "words" if len(unknown) > 1 else "word"
    return UserError(f"The small models of Demo and Draft do not know the {words} {listed}.", hint)
