# SPDX-License-Identifier: GPL-3.0-or-later
"""A program: installs the build of PyTorch that fits this machine into the environment whose Python runs it.

Its argument, where there is one, is the package index to take it from, in the place of PyTorch's own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

TORCH = "torch>=2.6,<=2.13.0"
INDEX = "https://download.pytorch.org/whl/"
CUDA_BY_DRIVER = ((580, "cu130"), (525, "cu126"))
"""The oldest driver of each build, newest first."""


def variant(platform: str, driver: int | None) -> str:
    """Which of PyTorch's indices has the right build; empty for the usual one.

    Args:
        platform: as ``sys.platform``.
        driver: major version of NVIDIA's driver, or None without one.
    """
    if platform == "darwin":
        return ""
    return next((cuda for oldest, cuda in CUDA_BY_DRIVER if driver is not None and driver >= oldest), "cpu")


def driver_version() -> int | None:
    """Major version of NVIDIA's driver; None without a card that works."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return int(said.split(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def index_url(named: str) -> str:
    """Where PyTorch is: the index that somebody named, or PyTorch's own for this machine; empty for the usual one."""
    if named:
        return named
    chosen = variant(sys.platform, driver_version())
    return INDEX + chosen if chosen else ""


def main() -> int:
    """Run pip; its exit status."""
    url = index_url(" ".join(sys.argv[1:]))
    index = ["--index-url", url] if url else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off"]
    return subprocess.run([*pip, *index, TORCH]).returncode


if __name__ == "__main__":
    sys.exit(main())
