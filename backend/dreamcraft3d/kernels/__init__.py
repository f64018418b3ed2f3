"""Warp kernels that run unchanged on the CPU and on CUDA, each with a plain-torch twin."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
import warp as wp

_NO_DRIVER = b"Could not find or load the NVIDIA CUDA driver"


def _start_warp() -> None:
    """Start Warp without its banner, and without its library's remark that a machine has no NVIDIA driver.

    Warnings and errors stay: the library writes to the process's own stderr, so what it writes while it starts is held
    back, and all of it but that remark passed on.
    """
    if hasattr(wp, "LOG_WARNING"):
        wp.config.log_level = wp.LOG_WARNING
    else:  # an older Warp
        wp.config.quiet = True
    with tempfile.TemporaryFile() as written:
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            wp.init()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            for line in written:
                if _NO_DRIVER not in line:
                    os.write(2, line)


_start_warp()


def launch_device(device: torch.device) -> str:
    """Warp's name for a torch device: ``cpu`` or ``cuda:N``."""
    return "cpu" if device.type == "cpu" else f"cuda:{device.index or 0}"


@cache
def nvdiffrast_context(device: torch.device) -> Any | None:
    """A context of NVIDIA's rasterizer on a CUDA device; None on the CPU and where it is missing or does not build."""
    if device.type != "cuda" or find_spec("nvdiffrast") is None:
        return None
    import nvdiffrast.torch as dr

    try:
        return dr.RasterizeCudaContext(device)
    except Exception as error:  # it compiles itself here, which fails in as many ways as there are tool chains
        logging.getLogger(__name__).warning("nvdiffrast is installed but does not start, Warp draws instead: %s", error)
        return None
