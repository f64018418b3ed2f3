"""How the models of a run are made to need less memory, and how to tell that there was too little."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Means:
    """How models are made to fit; all off: everything on the card, in float32, all views at once.

    Attributes:
        half: frozen weights are bfloat16.
        words_elsewhere: text encoders stay on the processor.
        one_view: views are rendered, encoded, asked about and learnt one by one.
        checkpointing: gradient checkpointing in UNets and autoencoders.
        offload: of the two priors of the shape, only the one that is asked has its UNet on the card.
        lora: a DreamBooth trains low-rank additions even where the preset would train all its weights.
    """

    half: bool = False
    words_elsewhere: bool = False
    one_view: bool = False
    checkpointing: bool = False
    offload: bool = False
    lora: bool = False


NO_MEANS = Means()

SENTENCES = {
    "half": "frozen models in bfloat16",
    "words_elsewhere": "the text encoder on the processor, once",
    "one_view": "views one after another, gradients added up",
    "checkpointing": "gradient checkpointing",
    "offload": "models on the card only while they are asked",
    "lora": "DreamBooth as a LoRA, not all weights",
}
"""The means in words, the cheapest first."""

LORA_RANK = 64
"""Of a DreamBooth that memory makes a LoRA."""

_SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "failed to allocate", "alloc_failed")
"""What torch (CUDA and its libraries, MPS, the CPU's allocator) and Warp say, in lower case."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there was too little memory, on a card or on the computer."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def free_memory() -> None:
    """Give back to the card what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
