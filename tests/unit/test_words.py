"""Prompts in the words that the embedded priors know."""

import tomllib

import pytest

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.caption import Captioner
from dreamcraft3d.priors.colour_names import PALETTE, whole_colour
from dreamcraft3d.priors.words import (
    MAX_TOKENS,
    MAX_WORDS,
    NORMAL_MAP,
    REFERENCE_VIEW,
    SYNONYMS,
    build_tokenizer,
    check_words,
    class_noun,
    identified,
    view_words,
)


@pytest.fixture(scope="module")
def tokenizer():
    """The captions' words: those that the shipped captioner can say, the colours, and the fixed phrases."""
    nouns = Captioner.load().nouns
    return build_tokenizer([*nouns, *PALETTE, REFERENCE_VIEW, "side back overhead", NORMAL_MAP, "a an and the of with"])


@pytest.fixture(scope="module")
def vocabulary(tokenizer):
    return tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a red mushroom", "a red mushroom"),
        ("red mushroom", "a red mushroom"),
        ("The Red MUSHROOM!", "a red mushroom"),
        ("an automobile", "a car"),
        ("a car", "a car"),
        ("an orange toadstool", "an orange mushroom"),
        ("a crimson toadstool", "a red mushroom"),
        ("a gray rock", "a grey rock"),
        ("mushrooms", "a mushroom"),
        ("white daisies", "a white flower"),
        ("blue chairs", "a blue chair"),
        ("a witch\u2019s house", "a witch house"),
        ("a garbage can", "a trash can"),
        ("a cute, highly detailed 3D render of an apple, low poly", "an apple"),
        ("a mushroom on a table", "a mushroom table"),
        ("a red and white mushroom", "a red and white mushroom"),
        ("a mûshroom", "a mushroom"),
        ("a [v] red mushroom", "a [v] red mushroom"),
    ],
)
def test_a_prompt_is_put_into_known_words(prompt, text, vocabulary):
    assert check_words(prompt, vocabulary).text == text


def test_the_artist_is_told_what_was_replaced_and_dropped(vocabulary):
    checked = check_words("a cute crimson toadstool", vocabulary)
    assert checked.replaced == {"crimson": "red", "toadstool": "mushroom"}
    assert checked.dropped == ["cute"]


def test_no_word_of_a_checked_prompt_is_unknown_to_the_tokenizer(tokenizer, vocabulary):
    text = check_words("please make me a beautiful large automobile with a wooden wheel on top", vocabulary).text
    assert tokenizer.unk_token_id not in tokenizer(text).input_ids


@pytest.mark.parametrize("prompt", ["a mushrom", "a red mushrom on a table"])
def test_a_misspelt_noun_is_refused_with_the_right_one(prompt, vocabulary):
    with pytest.raises(UserError, match=r'do not know the word "mushrom"\. Did you mean: mushroom'):
        check_words(prompt, vocabulary)


def test_an_unknown_adjective_is_refused_too(vocabulary):
    with pytest.raises(UserError, match=r'the word "iridescent"\.'):
        check_words("an iridescent mushroom", vocabulary)


def test_every_unknown_word_is_listed(vocabulary):
    with pytest.raises(UserError, match=r'the words "zeppelinn", "qwx" and "vfb"\.'):
        check_words("a zeppelinn qwx vfb", vocabulary)


def test_words_of_another_script_do_not_vanish(vocabulary):
    with pytest.raises(UserError, match="гриб"):
        check_words("a red mushroom гриб", vocabulary)


@pytest.mark.parametrize("prompt", ["", "  ,", "a red", "cute", "a small wooden", "[v]", "red with blue"])
def test_a_prompt_without_an_object_is_refused(prompt, vocabulary):
    with pytest.raises(UserError, match="names no object"):
        check_words(prompt, vocabulary)


def test_the_longest_prompt_fits_the_model_as_a_normal_map_with_view_words(tokenizer, vocabulary):
    text = check_words("red " * (MAX_WORDS - 1) + "mushroom", vocabulary).text
    longest = f"{NORMAL_MAP} {text}, {REFERENCE_VIEW}"
    assert len(tokenizer(longest).input_ids) == MAX_TOKENS
    with pytest.raises(UserError, match=f"{MAX_WORDS + 1} words"):
        check_words("red " * MAX_WORDS + "mushroom", vocabulary)


def test_every_synonym_leads_to_known_words_from_an_unknown_one(vocabulary):
    table = tomllib.loads(SYNONYMS.read_text())
    for word, meaning in table["synonyms"].items():
        assert set(meaning.split()) <= set(vocabulary), word
        assert word not in vocabulary
    assert not set(table["dropped"]) & (set(vocabulary) | set(table["synonyms"]))
    assert set(table["describing"]) <= set(vocabulary)


@pytest.mark.parametrize(
    ("prompt", "noun"),
    [
        ("a red mushroom", "mushroom"),
        ("a red mushroom with white spots", "mushroom"),
        ("a castle, on a hill, at night", "castle"),
        ("a pile of rocks", "pile"),
        ("a photo of a cat in a hat", "cat"),
        ("a picture of a cat", "cat"),
        ("highly detailed, a steam train", "train"),
        ("a [v] oak tree", "tree"),
        ("a toy", "toy"),
        ("Café", "cafe"),
    ],
)
def test_the_class_noun_is_the_last_word_before_a_comma_or_preposition(prompt, noun):
    assert class_noun(prompt) == noun


def test_no_words_have_no_class_noun():
    with pytest.raises(UserError, match="names no object"):
        class_noun("of the")


@pytest.mark.parametrize("prompt", ["a red mushroom", "red mushroom with spots", "the mushroom"])
def test_the_identifier_stands_before_the_class(prompt):
    assert identified(prompt) == "a [v] mushroom"


def test_a_prompt_with_the_identifier_is_left_alone():
    assert identified("a [v] red mushroom") == "a [v] red mushroom"


def test_view_words_follow_the_camera():
    assert [view_words(a, 10) for a in (0, 44, -90, 180, 359)] == [
        "front view",
        "front view",
        "side view",
        "back view",
        "front view",
    ]
    assert view_words(0, 75) == "overhead view"


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mushroom with white spots", "red"),
        ("a dark green car", "dark green"),
        ("a house with a red roof", None),
        ("a red and white mushroom", None),
        ("a coloured ball", None),
    ],
)
def test_the_colour_of_a_whole_object_is_the_one_that_it_is_given_before_its_parts(
    prompt: str, name: str | None
) -> None:
    assert whole_colour(prompt) == (None if name is None else PALETTE[name])
