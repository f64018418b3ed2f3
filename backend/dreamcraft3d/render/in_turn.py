"""Views rendered one after another: a batch's pictures and gradients for the memory of one view's renderer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dreamcraft3d.render.camera import Cameras

Views = TypeVar("Views")


def in_turn(render: Callable[..., Views], cameras: Cameras, *more: Tensor) -> Views:
    """What ``render(cameras, *more)`` gives, rendered a camera at a time and again in the backward pass.

    Args:
        render: gives a dataclass of tensors, along whose first dimension views follow each other; it draws nothing at
            random, for it is called twice.
        more: tensors with a row for each camera.
    """
    views = [
        checkpoint(render, cameras[[i]], *(each[[i]] for each in more), use_reentrant=False)
        for i in range(len(cameras))
    ]
    joined: Views = _joined(views)
    return joined


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if not is_dataclass(first):
        return torch.cat(parts)
    kind: Any = type(first)
    return kind(**{f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(first)})
