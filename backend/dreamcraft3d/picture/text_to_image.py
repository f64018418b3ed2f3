"""Pictures for a prompt, drawn by a full-size text-to-image model of any kind that diffusers knows."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image
from diffusers.training_utils import free_memory
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.model_folder import load_pipeline


@torch.no_grad()
def pictures_of_words(
    folder: Path,
    prompt: str,
    count: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    steps: int = 50,
    guidance_scale: float = 7.5,
    negative: str = "",
) -> Tensor:
    """Draw ``count`` pictures, one after the other, and free the model.

    Args:
        folder: a pipeline in the diffusers layout (Stable Diffusion, SDXL, PixArt, Flux, ...).
        generator: on the CPU, so that a seed draws the same on every device.
        negative: what the pictures shall not show, or empty; models that know no negative prompt draw without.

    Returns:
        (count, S, S, 3) in [0, 1], of the model's own size.

    Raises:
        UserError: a part of the model is missing or broken, or it does not draw from words.
    """
    try:
        pipeline = load_pipeline(AutoPipelineForText2Image, folder, dtype)
    except ValueError as error:
        raise UserError(
            f"{folder} holds no model that draws pictures from words ({error}).", "Name that of a text-to-image model."
        ) from error
    if torch.device(device).type != "cpu":
        pipeline.enable_model_cpu_offload(device=device)  # text encoder, denoiser and decoder are there one at a time
    try:
        options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "output_type": "np"}
        if negative and "negative_prompt" in inspect.signature(pipeline.__call__).parameters:
            options["negative_prompt"] = negative
        drawn = [pipeline(prompt, generator=generator, **options).images[0] for _ in range(count)]
    finally:
        del pipeline
        free_memory()
    return torch.stack([torch.from_numpy(picture) for picture in drawn]).float()
