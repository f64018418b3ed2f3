"""Counts the weights of the full-size models by building each from its config on the meta device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that a LoRA adds to."""


@dataclass(frozen=True)
class Config:
    """A model's architecture.

    Attributes:
        kind: the class in diffusers or transformers.
        source: where the values are from.
        values: the class's own settings.
    """

    kind: str
    source: str
    values: dict[str, Any]


def read_config(name: str) -> Config:
    """One of ``configs/*.json``, by its name without the ending."""
    text = resources.files("dreamcraft3d.plan").joinpath("configs", f"{name}.json").read_text(encoding="utf-8")
    values = json.loads(text)
    return Config(values.pop("_class"), values.pop("_source"), values)


@cache
def build(name: str) -> nn.Module:
    """The model without its weights' values, on the meta device: it takes no memory."""
    config = read_config(name)
    with torch.device("meta"):
        if hasattr(diffusers, config.kind):
            model: nn.Module = getattr(diffusers, config.kind).from_config(config.values)
        else:
            kind = getattr(transformers, config.kind)
            model = kind(kind.config_class(**config.values))
    return model


def parameters(name: str) -> int:
    """How many numbers the model's weights are."""
    return sum(p.numel() for p in build(name).parameters())


def encoder_parameters(name: str) -> int:
    """Of an autoencoder: how many are needed to encode."""
    model: Any = build(name)
    return sum(p.numel() for part in (model.encoder, model.quant_conv) for p in part.parameters())


def lora_parameters(name: str, rank: int) -> int:
    """How many numbers a LoRA of this rank adds to the model's attention layers."""
    return lora_size(build(name), rank)


def lora_size(model: nn.Module, rank: int) -> int:
    """As :func:`lora_parameters`, of any model."""
    layers = (m for n, m in model.named_modules() if n.endswith(ATTENTION) and isinstance(m, nn.Linear))
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)
