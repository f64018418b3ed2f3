"""T5's embeddings: what the encoder says, computed once, never those of another model."""

from __future__ import annotations

import io
import os
import shutil
import weakref
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TEXT_WIDTH, save_t5, t5_tokenizer
from torch import Tensor
from transformers import T5EncoderModel

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors import text_cache
from dreamcraft3d.priors.text_cache import TOKENS, model_hash, text_embeddings

TEXTS = ["a red mushroom, front view", "a red mushroom, back view", ""]


@pytest.fixture(scope="session")
def saved_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    save_t5(folder)
    return folder


@pytest.fixture
def model(saved_t5: Path, tmp_path: Path) -> Path:
    """A folder of text_encoder and tokenizer that a test may change."""
    return Path(shutil.copytree(saved_t5, tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """One entry for each time that an encoder is loaded."""
    seen = []
    load = text_cache.load_part

    def watched(*args: object, **options: object) -> T5EncoderModel:
        encoder = load(*args, **options)
        seen.append(weakref.ref(encoder))
        return encoder

    monkeypatch.setattr(text_cache, "load_part", watched)
    return seen


def embed(model: Path, cache: Path, texts: list[str] = TEXTS, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return text_embeddings(model, texts, dtype, "cpu", cache=cache)


def test_embeddings_are_the_encoders_last_states_under_its_mask(model: Path, cache: Path) -> None:
    encoder = T5EncoderModel.from_pretrained(model / "text_encoder").eval()
    tokenizer = t5_tokenizer()
    found = embed(model, cache)
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt").input_ids  # unpadded: a mask leaves padding no influence
        with torch.no_grad():
            expected = encoder(ids).last_hidden_state[0]
        assert found[text].shape == (TOKENS, TEXT_WIDTH)
        torch.testing.assert_close(found[text][: ids.shape[1]], expected, atol=1e-5, rtol=0)


def test_a_second_time_they_are_the_same_and_no_encoder_is_loaded(model: Path, cache: Path, loads: list) -> None:
    first = embed(model, cache)
    again = embed(model, cache)
    assert len(loads) == 1
    assert all(torch.equal(first[text], again[text]) for text in TEXTS)


def test_the_encoder_is_freed(model: Path, cache: Path, loads: list) -> None:
    embed(model, cache)
    assert [reference() for reference in loads] == [None]


def test_only_new_texts_are_encoded(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(model, cache)
    encode, encoded = text_cache._encode, []
    monkeypatch.setattr(text_cache, "_encode", lambda *args: encoded.extend(args[1]) or encode(*args))
    embed(model, cache, [*TEXTS, "a blue chair"])
    assert encoded == ["a blue chair"]


@pytest.mark.parametrize("restored_time", [False, True])
def test_a_changed_model_does_not_get_the_old_embeddings(model: Path, cache: Path, restored_time: bool) -> None:
    before = embed(model, cache)
    weights = model / "text_encoder" / "model.safetensors"
    time = weights.stat().st_mtime_ns
    changed = {name: value.clone() * 1.5 for name, value in load_file(weights).items()}
    save_file(changed, weights, metadata={"format": "pt"})
    if restored_time:
        os.utime(weights, ns=(time, time))
    after = embed(model, cache)
    assert not torch.allclose(before[TEXTS[0]], after[TEXTS[0]])


def test_a_changed_tokenizer_is_another_model(model: Path) -> None:
    before = model_hash(model)
    file = model / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"a"', '"A"'), encoding="utf-8")
    assert model_hash(model) != before


def test_weights_that_differ_far_inside_only_are_told_by_their_time(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_cache, "_HEAD", 16)
    before = model_hash(model)
    weights = model / "text_encoder" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert model_hash(model) != before


def test_each_precision_has_its_own(model: Path, cache: Path, loads: list) -> None:
    embed(model, cache)
    half = embed(model, cache, dtype=torch.bfloat16)
    assert len(loads) == 2
    assert half[TEXTS[0]].dtype == torch.bfloat16


def test_a_damaged_file_is_computed_again(model: Path, cache: Path) -> None:
    first = embed(model, cache)
    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    again = embed(model, cache)
    assert all(torch.equal(first[text], again[text]) for text in TEXTS)


def test_a_writing_that_breaks_off_leaves_nothing(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(text_cache, "save_file", breaks)
    with pytest.raises(OSError, match="No space"):
        embed(model, cache)
    assert list(cache.iterdir()) == []


def test_a_long_prompt_is_refused_not_cut(model: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"has \d+ tokens; DeepFloyd IF reads 77"):
        embed(model, cache, ["a very long prompt " * 8 + ", back view"])


def test_eight_bits_without_cuda_are_refused(model: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="8 bits only on CUDA"):
        text_embeddings(model, TEXTS, torch.float16, "cpu", eight_bit=True, cache=cache)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("text_encoder/model.safetensors", "text_encoder/*.safetensors"),
        ("text_encoder/config.json", "text_encoder/config.json"),
        ("tokenizer/tokenizer.json", "tokenizer/tokenizer.json"),
    ],
)
def test_what_is_missing_is_named(model: Path, cache: Path, gone: str, named: str) -> None:
    (model / gone).unlink()
    with pytest.raises(UserError) as caught:
        embed(model, cache)
    assert named in str(caught.value)


def test_a_tokenizer_that_is_only_a_sentencepiece_model_reads_as_it_should(model: Path) -> None:
    """So DeepFloyd IF's folder has it."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:2] * 20),
        model_writer=trained,
        vocab_size=28,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (model / "tokenizer" / "tokenizer.json").unlink()
    (model / "tokenizer" / "spiece.model").write_bytes(trained.getvalue())
    expected = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue()).encode(TEXTS[0])
    assert text_cache._tokenize(model, TEXTS).input_ids[0, : len(expected) + 1].tolist() == [*expected, 1]
