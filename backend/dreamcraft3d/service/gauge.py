"""How much memory the device has, how much of it is free, and what this process holds."""

from __future__ import annotations

import psutil
import torch

from dreamcraft3d.service.worker_messages import Beat


def read_gauge(device: torch.device) -> Beat:
    """The memory of a graphics card, or else of the computer; microseconds."""
    used = psutil.Process().memory_info().rss
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Beat(total, free, used)
    computer = psutil.virtual_memory()
    return Beat(computer.total, computer.available, used)
