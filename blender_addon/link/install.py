# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing, updating and removing the backend: an environment of its own, made by processes of their own, step by step.

What they say goes into a log. Whether it worked is not for a marker to say: the search for a Python proves it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .backend_python import python_of
from .process import end_of, spawn, stop, tail

GIGABYTE = 1 << 30
NEEDED_BYTES, NEEDED_BYTES_CUDA = 4 * GIGABYTE, 12 * GIGABYTE
"""What torch, its libraries and the rest take while they are being installed."""
SHOWN_CHARACTERS = 80
INSTALL_TORCH = Path(__file__).with_name("install_torch.py")


class InstallError(Exception):
    """It cannot be begun; ``str()`` is a sentence that says what to do."""


@dataclass(frozen=True)
class Step:
    """A process of the installation.

    Attributes:
        label: for the artist.
        command: what to run.
    """

    label: str
    command: tuple[str, ...]


def backend_source(addon: Path) -> Path | None:
    """Where the backend is installed from: the wheel inside the add-on, or the checkout around it."""
    wheels = sorted((addon / "backend").glob("dreamcraft3d-*.whl"))
    if wheels:
        return wheels[-1]
    checkout = addon.resolve().parent
    return checkout if (checkout / "backend" / "dreamcraft3d").is_dir() else None


def version_of(source: Path | None) -> tuple[int, ...]:
    """Of a wheel; empty for a checkout, of which it cannot be told, and for nothing."""
    named = re.match(r"dreamcraft3d-([0-9.]+)", source.name) if source is not None else None
    return numbers(named[1]) if named and source is not None and source.suffix == ".whl" else ()


def numbers(version: str) -> tuple[int, ...]:
    """Of a version, in order: (0, 1, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def plan(python: Path, target: Path, source: Path, torch_index: str = "") -> list[Step]:
    """The steps from nothing to a working environment.

    Args:
        python: that makes the environment; Blender's own.
        target: the environment's folder.
        source: a wheel or a checkout of the backend.
        torch_index: the package index that has PyTorch; empty for PyTorch's own.
    """
    made = str(python_of(target))
    options = ("--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off")
    torch = (made, str(INSTALL_TORCH), torch_index) if torch_index else (made, str(INSTALL_TORCH))
    return [
        *_environment(python, target, source.parent, options),
        Step("Downloading PyTorch", torch),
        Step("Installing DreamCraft3D", (made, "-m", "pip", *options, "--upgrade", str(source))),
        Step("Trying It Out", (made, "-P", "-m", "dreamcraft3d.cli", "presets")),
    ]


def plan_update(target: Path, source: Path, online: bool) -> list[Step]:
    """The steps from an environment with an older backend to the source's.

    What else it holds stays where it fits; where it does not, the network is needed.
    """
    made = str(python_of(target))
    pip = (made, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--progress-bar", "off")
    index = () if online else ("--no-index",)
    return [
        Step("Updating DreamCraft3D", (*pip, *index, "--upgrade", str(source))),
        Step("Trying It Out", (made, "-P", "-m", "dreamcraft3d.cli", "presets")),
    ]


def plan_removal(python: Path, target: Path) -> list[Step]:
    """The one step that deletes an environment, in a process of its own, as that takes seconds."""
    return [Step("Removing", (str(python), "-c", "import shutil, sys; shutil.rmtree(sys.argv[1])", str(target)))]


def _environment(python: Path, target: Path, wheels: Path, options: tuple[str, ...]) -> list[Step]:
    """A virtual environment; its pip is the one beside the backend's wheel, else Python's own, which Debian's lacks."""
    venv = (str(python), "-m", "venv", "--clear", str(target))
    pip = next(wheels.glob("pip-*.whl"), None)
    if pip is None:
        return [Step("Preparing", venv)]
    bring_pip = (str(python_of(target)), str(pip / "pip"), *options, "--no-index", str(pip))
    return [Step("Preparing", (*venv, "--without-pip")), Step("Preparing", bring_pip)]


def check_room(target: Path, source: Path | None, online: bool) -> Path:
    """Whether an installation may begin.

    Args:
        source: as :func:`backend_source` found it.
        online: whether Blender may use the network.

    Returns:
        the source.

    Raises:
        InstallError: it may not.
    """
    if source is None:
        raise InstallError("This add-on came without its backend. Install the zip that build_addon.py writes.")
    if not online:
        raise InstallError(
            "Blender may not go online. Allow Online Access in Preferences, System, Network; then install."
        )
    target.mkdir(parents=True, exist_ok=True)
    needed = NEEDED_BYTES_CUDA if shutil.which("nvidia-smi") else NEEDED_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise InstallError(
            f"The disk has {free / GIGABYTE:.1f} GB left; {needed / GIGABYTE:.0f} GB are needed in {target}."
        )
    return source


class Installation:
    """Runs steps one after the other; :meth:`poll` until it is over.

    Attributes:
        over: whether it has ended, well or not.
        sentence: what went wrong, or empty.
        stoppable: whether an artist may stop it.
    """

    def __init__(self, steps: Sequence[Step], log: Path, stoppable: bool = True) -> None:
        self.over = False
        self.sentence = ""
        self.stoppable = stoppable
        self.steps = list(steps)
        self.log = log
        self.done = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def factor(self) -> float:
        """From 0 to 1."""
        return self.done / len(self.steps)

    @property
    def label(self) -> str:
        """Of the present step."""
        return self.steps[min(self.done, len(self.steps) - 1)].label

    @property
    def said(self) -> str:
        """The last line of the log, cut to what a panel can show."""
        return next(iter(tail(self.log, 1, self._log_start)), "")[:SHOWN_CHARACTERS]

    def poll(self) -> bool:
        """Go on as far as possible without waiting; returns whether it is over."""
        while not self.over:
            if self._process is None:
                self._begin()
            elif self._process.poll() is None:
                return False
            elif self._process.returncode != 0:
                self._fail(explain(tail(self.log, 40, self._log_start)))
            else:
                self._process = None
                self.done += 1
                self.over = self.done == len(self.steps)
        return True

    def cancel(self) -> None:
        """Leave off; what is half done is made anew by the next installation."""
        if self._process is not None:
            stop(self._process)
        self._fail("The installation was stopped.")

    def _begin(self) -> None:
        self._log_start = end_of(self.log)
        try:
            self._process = spawn(self.steps[self.done].command, self.log)
        except OSError as error:
            self._fail(f"{self.steps[self.done].command[0]} cannot be started: {error.strerror}.")

    def _fail(self, sentence: str) -> None:
        if not self.over:
            self.over, self.sentence = True, sentence


_EXPLAINED = (
    (("No space left", "Errno 28", "There is not enough space"), "The disk is full. Make room, and install again."),
    (
        ("ensurepip is not", "No module named venv", "No module named ensurepip"),
        "This Blender's Python cannot make environments. Install the backend by hand in a Python 3.11 to 3.13, and name "
        "that Python in the add-on's preferences.",
    ),
    (
        ("No module named pip",),
        "The new environment has no pip. Install again; if it stays so, name a Python with the backend in the preferences.",
    ),
    (
        ("Name or service not known", "Temporary failure in name resolution", "Max retries exceeded", "getaddrinfo failed",
         "Connection refused", "NewConnectionError", "ReadTimeoutError", "ProxyError", "CERTIFICATE_VERIFY_FAILED"),
        "The network did not answer. Look after the connection, and install again.",
    ),
    (
        ("No matching distribution", "Could not find a version"),
        "There is no build of a needed package for this system. Name a Python with the backend in the preferences.",
    ),
    (("Permission denied", "Errno 13"), "The folder of the backend cannot be written."),
)  # fmt: skip


def explain(lines: Sequence[str]) -> str:
    """A sentence for what a failed step said."""
    text = "\n".join(lines)
    for signs, sentence in _EXPLAINED:
        if any(sign in text for sign in signs):
            return sentence
    return "That failed. The log says why."
