"""Depth and normals of a picture by full-size estimators: Marigold, and Depth Anything V2 for depth alone.

``picture/surface.py`` is their small relative that ships with the package; both give a ``Surface``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import MarigoldDepthPipeline, MarigoldNormalsPipeline
from diffusers.training_utils import free_memory
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation

from dreamcraft3d.errors import UserError
from dreamcraft3d.picture.surface import Surface
from dreamcraft3d.priors.model_folder import broken, load_pipeline, pipeline_class, require_parts


def estimate_surface(
    rgb: Tensor,
    mask: Tensor,
    depth_folder: Path,
    normal_folder: Path,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Surface:
    """The surface of a masked object; one model is loaded at a time, and freed.

    Args:
        rgb: (S, S, 3) picture on white, [0, 1].
        mask: (S, S, 1) coverage; inside is where it exceeds one half.
        depth_folder: of a ``MarigoldDepthPipeline`` or a Depth Anything V2.
        normal_folder: of a ``MarigoldNormalsPipeline``.
        generator: for Marigold's noise, on the CPU.
        dtype: of the models; on a CPU, Marigold knows float32 only.

    Returns:
        of one picture, on the device of ``rgb``.

    Raises:
        UserError: a part of a model is missing or broken, or it is another kind of model.
    """
    inside = mask > 0.5
    depth = distance(rgb, depth_folder, generator, device, dtype)
    near, far = (depth[inside].min(), depth[inside].max()) if inside.any() else (depth.min(), depth.max())
    relative = ((depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1)
    normal = normals(rgb, normal_folder, generator, device, dtype)
    return Surface(torch.where(inside, relative, 0.0)[None], torch.where(inside, normal, 0.0)[None])


def distance(
    rgb: Tensor, folder: Path, generator: torch.Generator, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """(S, S, 1) how far what is seen in a picture (S, S, 3) is, in no unit and up to a constant: far is large."""
    if pipeline_class(folder) == "MarigoldDepthPipeline":
        answer, predicts = _marigold(MarigoldDepthPipeline, rgb, folder, generator, device, dtype)
        return -answer if predicts == "disparity" else answer
    return -_inverse_depth(rgb, folder, device, dtype)


def normals(
    rgb: Tensor, folder: Path, generator: torch.Generator, device: torch.device | str, dtype: torch.dtype
) -> Tensor:
    """(S, S, 3) unit normals in the camera's axes, x right, y up, z toward the camera, as Marigold has them, too."""
    require_parts(folder)
    if pipeline_class(folder) != "MarigoldNormalsPipeline":
        raise UserError(f"{folder} holds no normal estimator.", "Name the folder of a Marigold normals model.")
    answer, _ = _marigold(MarigoldNormalsPipeline, rgb, folder, generator, device, dtype)
    return F.normalize(answer, dim=-1)


@torch.no_grad()
def _marigold(
    kind: Any, rgb: Tensor, folder: Path, generator: torch.Generator, device: torch.device | str, dtype: torch.dtype
) -> tuple[Tensor, str]:
    """(S, S, C) the prediction, and its type; steps and size are those that the folder recommends."""
    pipeline = load_pipeline(kind, folder, dtype).to(device)
    try:
        prediction = pipeline(rgb.permute(2, 0, 1)[None], generator=generator, output_type="pt").prediction
        return prediction[0].permute(1, 2, 0).to(rgb), pipeline.config.prediction_type
    finally:
        del pipeline
        free_memory()


@torch.no_grad()
def _inverse_depth(rgb: Tensor, folder: Path, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """(S, S, 1) of Depth Anything V2, near is large."""
    require_parts(folder)
    config = folder / "config.json"
    if not config.is_file() or json.loads(config.read_text(encoding="utf-8")).get("model_type") != "depth_anything":
        raise UserError(f"{folder} holds no depth estimator.", "Name the folder of a Marigold or Depth Anything model.")
    try:
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        model = DepthAnythingForDepthEstimation.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, SafetensorError) as error:
        raise broken(folder, error) from error
    try:
        picture = (rgb.cpu().numpy() * 255).round().astype("uint8")
        pixels = processor(images=picture, return_tensors="pt").pixel_values
        found = model.to(device).eval()(pixels.to(device, dtype)).predicted_depth
        return F.interpolate(found[None].float(), rgb.shape[:2], mode="bilinear")[0].permute(1, 2, 0).to(rgb)
    finally:
        del model
        free_memory()
