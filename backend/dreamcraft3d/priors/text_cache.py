"""Text embeddings of T5, computed once and kept on disk, so that the large encoder need not stay in memory."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BatchEncoding, BitsAndBytesConfig, T5EncoderModel, T5TokenizerFast

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.model_folder import load_part, require_parts

TOKENS = 77
"""What DeepFloyd IF was trained on, although T5 itself reads longer texts."""
_HEAD = 1 << 20


def cache_folder() -> Path:
    """Where embeddings lie if nothing else is said: in the user's cache folder."""
    return platformdirs.user_cache_path("dreamcraft3d", appauthor=False) / "text_embeddings"


def text_embeddings(
    model: Path,
    texts: Sequence[str],
    dtype: torch.dtype,
    device: torch.device | str,
    eight_bit: bool = False,
    cache: Path | None = None,
) -> dict[str, Tensor]:
    """The last hidden states of T5 for each text, (77, width) in ``dtype`` on ``device``.

    The encoder is loaded only if a text is missing in the cache, and freed before this returns.

    Args:
        model: a folder in the diffusers layout, with ``text_encoder`` and ``tokenizer``.
        eight_bit: run the encoder in 8 bits, by bitsandbytes (half the memory of half precision).
        cache: folder of the embeddings; None is :func:`cache_folder`.

    Raises:
        UserError: the model's folder is incomplete, a text is too long, or 8 bits are not to be had here.
    """
    require_parts(model, "text_encoder", "tokenizer")
    cache = cache or cache_folder()
    source = f"{model_hash(model)} {'int8' if eight_bit else dtype}"
    files = {text: cache / f"{_sha256(f'{source} {text}'.encode())}.safetensors" for text in texts}
    found = {text: _read(file) for text, file in files.items()}
    missing = [text for text, embedding in found.items() if embedding is None]
    if missing:
        for text, embedding in zip(missing, _encode(model, missing, dtype, device, eight_bit), strict=True):
            found[text] = embedding
            _write(files[text], embedding, {"text": text, "model": source})
    return {text: embedding.to(device, dtype) for text, embedding in found.items() if embedding is not None}


def model_hash(model: Path) -> str:
    """A hash of text encoder and tokenizer that changes when a file of theirs does.

    It is taken over names, sizes, times of change and the first mebibyte of every file. To read ten gigabytes whole would
    cost as much as loading the encoder, which the cache is there to save.
    """
    digest = hashlib.sha256()
    for part in ("text_encoder", "tokenizer"):
        for file in sorted(path for path in (model / part).rglob("*") if path.is_file()):
            facts = file.stat()
            digest.update(f"{file.relative_to(model).as_posix()} {facts.st_size} {facts.st_mtime_ns} ".encode())
            with file.open("rb") as content:
                digest.update(content.read(_HEAD))
    return digest.hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(file: Path) -> Tensor | None:
    """A cached embedding; None if there is none, or a damaged one."""
    try:
        return load_file(file)["embedding"]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(file: Path, embedding: Tensor, facts: dict[str, str]) -> None:
    """Put a whole file in place at once: another process may be reading, or this one may be killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    os.close(handle)
    try:
        save_file({"embedding": embedding.cpu().contiguous()}, temporary, metadata=facts)
        os.replace(temporary, file)
    finally:
        Path(temporary).unlink(missing_ok=True)


@torch.no_grad()
def _encode(
    model: Path, texts: list[str], dtype: torch.dtype, device: torch.device | str, eight_bit: bool
) -> list[Tensor]:
    tokens = _tokenize(model, texts).to(device)
    encoder = _load_encoder(model, dtype, device, eight_bit)
    embeddings = encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    results = list(embeddings.to(dtype).cpu())
    del encoder, embeddings
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return results


def _tokenize(model: Path, texts: list[str]) -> BatchEncoding:
    try:
        tokenizer = T5TokenizerFast.from_pretrained(model / "tokenizer", local_files_only=True)
    except (OSError, ValueError, ImportError) as problem:
        raise UserError(
            f"The tokenizer {model / 'tokenizer'} cannot be read: {problem}",
            "Download the model again; spiece.model needs the packages sentencepiece and protobuf.",
        ) from problem
    longest = max(texts, key=lambda text: len(tokenizer(text).input_ids))
    if (count := len(tokenizer(longest).input_ids)) > TOKENS:
        # Cut off, a prompt would lose its end, where the view words are.
        raise UserError(f'"{longest}" has {count} tokens; DeepFloyd IF reads {TOKENS}.', "Shorten the prompt.")
    return tokenizer(texts, padding="max_length", max_length=TOKENS, return_tensors="pt")


def _load_encoder(model: Path, dtype: torch.dtype, device: torch.device | str, eight_bit: bool) -> T5EncoderModel:
    if not eight_bit:
        return load_part(T5EncoderModel, model, "text_encoder", dtype).to(device)
    if torch.device(device).type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "The text encoder runs in 8 bits only on CUDA and with the package bitsandbytes.",
            "Install it (pip install bitsandbytes), or leave 8 bits off.",
        )
    quantized = BitsAndBytesConfig(load_in_8bit=True)
    return load_part(
        T5EncoderModel, model, "text_encoder", dtype, quantization_config=quantized, device_map={"": device}
    )
