"""Measures how much memory activations take, on small models of the real classes; writes ``activations.toml``.

    python -m dreamcraft3d.plan.measure

The bytes of a pass grow with the batch, with the pixels P and with the first block's channels C: the law fitted is
batch * (a C P + b P + c C + d). Attention is torch's, which keeps no matrix of pixels by pixels.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from dreamcraft3d.plan.weights import read_config

Pass = Literal["infer", "through", "train", "checkpointed"]
"""A forward pass without gradients; one with the gradient of its input; one with those of its weights; and that again
with gradient checkpointing."""


class PeakMemory(TorchDispatchMode):
    """The most bytes that tensors made within it held at once, parameters aside.

    Attributes:
        peak: bytes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known = {p.untyped_storage()._cdata for p in [*module.parameters(), *module.buffers()]}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return tree_map_only(Tensor, self._watch, func(*args, **(kwargs or {})))

    def _watch(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return tensor

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


@dataclass(frozen=True)
class Subject:
    """A class of models, made small: ``config`` names the full-size one whose blocks it keeps.

    Pixels P are those of the model's input: of an encoder's picture, of a decoder's latents.
    """

    config: str
    channels: tuple[int, ...]
    sizes: tuple[int, ...]
    passes: tuple[Pass, ...]
    decode: bool = False


SUBJECTS = {
    "if-unet": Subject("if-i-xl-unet", (32, 64), (16, 24, 32), ("infer",)),
    "zero123-unet": Subject("zero123-unet", (32, 64), (16, 24, 32), ("infer",)),
    "sd-unet": Subject("sd-2-1-base-unet", (32, 64), (16, 24, 32), ("infer", "train", "checkpointed")),
    "vae-encoder": Subject("sd-vae", (32, 64), (48, 64, 96), ("infer", "through", "checkpointed")),
    "vae-decoder": Subject("sd-vae", (32, 64), (6, 8, 12), ("infer",), decode=True),
}


def small_model(subject: Subject, channels: int) -> UNet2DConditionModel | AutoencoderKL:
    """A model with the full-size one's blocks, its first ``channels`` wide and the others in proportion."""
    config = read_config(subject.config).values
    widths = config["block_out_channels"]
    config["block_out_channels"] = [channels * width // widths[0] for width in widths]
    if subject.config == "sd-vae":
        return AutoencoderKL.from_config(config)
    if isinstance(config["attention_head_dim"], list):  # heads of 64 channels, as many as a block holds
        config["attention_head_dim"] = [max(1, width // 64) for width in config["block_out_channels"]]
    elif "encoder_hid_dim" in config:
        config |= {"attention_head_dim": 16, "encoder_hid_dim": 64, "addition_embed_type_num_heads": 4}
    config["cross_attention_dim"] = 4 * channels if "encoder_hid_dim" in config else 64
    return UNet2DConditionModel.from_config(config)


def peak_bytes(
    model: UNet2DConditionModel | AutoencoderKL, how: Pass, batch: int, size: int, decode: bool = False
) -> int:
    """The peak of one pass in float32 over a batch of pictures or latents, ``size`` pixels a side."""
    for parameter in model.parameters():
        parameter.requires_grad_(how == "train" or (how == "checkpointed" and not isinstance(model, AutoencoderKL)))
        if parameter.requires_grad:  # gradients are counted with the weights
            parameter.register_post_accumulate_grad_hook(_drop_gradient)
    model.train()
    if how == "checkpointed":
        model.enable_gradient_checkpointing()
    else:
        model.disable_gradient_checkpointing()
    generator = torch.Generator().manual_seed(0)
    channels = model.config.latent_channels if decode else model.config.in_channels
    inputs = torch.randn(
        batch, channels, size, size, generator=generator, requires_grad=how in ("through", "checkpointed")
    )
    with PeakMemory(model) as memory, torch.set_grad_enabled(how != "infer"):
        if decode:
            output = model.decode(inputs).sample
        elif isinstance(model, AutoencoderKL):
            output = model.encode(inputs).latent_dist.mean
        else:
            width = model.config.encoder_hid_dim or model.config.cross_attention_dim
            words = torch.randn(batch, 77, width, generator=generator)
            output = model(inputs, torch.zeros(batch, dtype=torch.long), words).sample
        if how != "infer":
            output.square().mean().backward()
        del output
    return memory.peak


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def features(channels: int, size: int) -> list[float]:
    """What the law is linear in, for one picture."""
    pixels = size * size
    return [channels * pixels, pixels, channels, 1.0]


def fit(points: Sequence[tuple[int, int, int]]) -> list[float]:
    """The law's coefficients from (channels, size, bytes of one picture), by least squares of relative errors."""
    rows = np.array([features(channels, size) for channels, size, _ in points])
    measured = np.array([peak for *_, peak in points], dtype=float)
    solution, *_ = np.linalg.lstsq(rows / measured[:, None], np.ones(len(points)), rcond=None)
    return [float(value) for value in solution]


def measure(subject: Subject, how: Pass) -> list[float]:
    """Fit the law to one kind of pass."""
    points = []
    for channels in subject.channels:
        model = small_model(subject, channels)
        points += [(channels, size, peak_bytes(model, how, 1, size, subject.decode)) for size in subject.sizes]
    return fit(points)


def main() -> None:
    """Write the table to standard output."""
    from dreamcraft3d.plan.measure_scenes import SCENES, measure_scene

    for name, subject in SUBJECTS.items():
        sys.stdout.write(f"\n[{name}]\n")
        for how in subject.passes:
            sys.stdout.write(f"{how} = {[round(value, 3) for value in measure(subject, how)]}\n")
    for name, scene in SCENES.items():
        sys.stdout.write(f"\n[{name}]\ntrain = {[round(value, 3) for value in measure_scene(scene)]}\n")


if __name__ == "__main__":
    main()
