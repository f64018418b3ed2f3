"""Matting by a neural network in ONNX: BiRefNet, U2-Net and others that are fed the same way.

``picture/matting.py`` needs no weights but a plain background; this needs weights and takes any. It runs by onnxruntime,
an optional dependency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from dreamcraft3d.errors import UserError

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's."""
DEFAULT_SIDE = 1024
"""Of the picture shown to a network that takes any size; BiRefNet was trained at it."""
OPAQUE = 0.95
"""Coverage above which a colour is the object's alone."""


def cut_out_by_network(rgba: Tensor, path: Path, device: torch.device | str = "cpu") -> Tensor:
    """Find the object, make the rest transparent, and free the network.

    A picture that has transparency keeps it as it is. Along the soft edge, colours are those of the nearest opaque
    pixel, so that no background shines through.

    Args:
        rgba: (H, W, 4) sRGB and straight alpha in [0, 1].
        path: an ``.onnx`` file. Its first input is a picture (1, 3, S, S) normalised with ImageNet's mean and deviation,
            its first output a mask (1, 1, S, S) in [0, 1], or the logits of one.
        device: a CUDA device is used where onnxruntime can.

    Returns:
        (H, W, 4) on the device of ``rgba``.

    Raises:
        UserError: onnxruntime or the file is missing, the file holds no such network, or it finds no object.
    """
    if rgba[..., 3].min() < 1 - 2 / 255:
        return rgba
    alpha = coverage(rgba[..., :3], path, device)
    if not 0.001 < (alpha > 0.5).mean(dtype=torch.float32) < 0.97:
        raise UserError("The matting network finds no object in the picture.", "Give a picture of one object.")
    opaque = (alpha > OPAQUE).cpu().numpy()
    if not opaque.any():
        return torch.cat([rgba[..., :3], alpha], dim=-1)
    nearest = ndimage.distance_transform_edt(~opaque[..., 0], return_distances=False, return_indices=True)
    pure = rgba[..., :3].cpu()[tuple(torch.from_numpy(nearest).long())]
    return torch.cat([pure.to(rgba), alpha], dim=-1)


def coverage(rgb: Tensor, path: Path, device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 1) coverage in [0, 1] of the object in a picture (H, W, 3); arguments and errors as above."""
    session = _session(path, torch.device(device))
    (name, shape), *_ = ((entry.name, entry.shape) for entry in session.get_inputs())
    if len(shape) != 4:
        raise UserError(f"{path} does not take a picture.", "Name a matting network such as BiRefNet or U2-Net.")
    height, width = (side if isinstance(side, int) else DEFAULT_SIDE for side in shape[2:])
    resized = _resized(rgb.float().cpu().permute(2, 0, 1)[None], height, width)
    normalised = (resized - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    found = torch.from_numpy(np.asarray(session.run(None, {name: normalised.numpy()})[0], dtype=np.float32))
    if found.ndim != 4:
        raise UserError(f"{path} does not give a mask.", "Name a matting network such as BiRefNet or U2-Net.")
    if found.min() < 0 or found.max() > 1:
        found = found.sigmoid()
    return _resized(found[:, :1], *rgb.shape[:2])[0].permute(1, 2, 0).clamp(0, 1).to(rgb)


def _resized(picture: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(picture, (height, width), mode="bilinear", antialias=True)


def _session(path: Path, device: torch.device) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "Matting by a network needs the package onnxruntime.", "Install it: pip install dreamcraft3d[onnx]"
        ) from None
    if not path.is_file():
        raise UserError(f"There is no matting network {path}.", "Download it, or check the path.")
    wanted = ["CUDAExecutionProvider"] * (device.type == "cuda") + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(path, providers=providers)
    except Exception as error:  # its errors have no common class of their own
        raise UserError(f"The matting network {path} cannot be read.", "Download it again.") from error
