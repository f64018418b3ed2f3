"""Write the Blender extension and the backend's wheel: ``python build_addon.py [--output dist] [--all-platforms]``.

dist/dreamcraft3d-VERSION.zip is what an artist installs: ``blender_addon/``, the wheels that it needs for Blender's Python
(3.11, 3.13, 3.14), the protocol as a wheel, and the backend's wheel, from which the add-on installs the backend, with a pip,
which not every Blender's Python has.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PYTHONS = ("3.11", "3.13", "3.14")
"""Of Blender 4.2 to 5.0, from 5.1 on, and of the builds of Linux distributions."""
BINARY = ("pyzmq>=26", "msgpack>=1.0.8", "platformdirs>=4")
PLATFORMS = (
    ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    ("win_amd64",),
    ("win_arm64",),
    ("macosx_11_0_arm64", "macosx_11_0_universal2", "macosx_10_15_universal2"),
    ("macosx_11_0_x86_64", "macosx_10_15_x86_64", "macosx_10_9_x86_64", "macosx_10_15_universal2"),
)
"""Tags that wheels of each platform may have, for ``--all-platforms``."""
PROTOCOL = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "dreamcraft3d_protocol"
version = "{version}"
description = "How the Blender add-on and the backend of DreamCraft3D talk"
requires-python = ">=3.11"
license = "Apache-2.0"
license-files = ["LICENSE"]
dependencies = ["msgpack", "numpy", "platformdirs", "pyzmq"]

[tool.setuptools]
packages = ["dreamcraft3d_protocol"]

[tool.setuptools.package-data]
dreamcraft3d_protocol = ["py.typed", "README.md"]
"""


class BuildError(Exception):
    """Something is missing; ``str()`` is a sentence that says what to do."""


def main() -> int:
    """Build, say what was written, and have Blender judge it where there is a bpy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to write into (dist)")
    parser.add_argument("--all-platforms", action="store_true", help="wheels for Linux, Windows and macOS")
    chosen = parser.parse_args()
    try:
        for made in build(chosen.output, chosen.all_platforms):
            sys.stdout.write(f"{made} ({made.stat().st_size / 1e6:.1f} MB)\n")
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build(output: Path, all_platforms: bool = False) -> list[Path]:
    """Write the zip and the backend's wheel; returns their paths.

    Raises:
        BuildError: a wheel cannot be had, or Blender's validator refuses the zip.
    """
    output.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "dreamcraft3d"
        shutil.copytree(ROOT / "blender_addon", stage, ignore=shutil.ignore_patterns("__pycache__"))
        wheels, backend = stage / "wheels", stage / "backend"
        _download(wheels, all_platforms)
        _build_protocol(Path(folder) / "protocol", f"{version}.post{_build_number()}", wheels)
        _build_wheel(ROOT, backend)
        _pip(
            ["download", "--only-binary=:all:", "--no-deps", "--dest", str(backend), "pip"],
            "pip could not be downloaded.",
        )
        _write_manifest(stage / "blender_manifest.toml", version, sorted(wheels.glob("*.whl")))
        archive = output / f"dreamcraft3d-{version}.zip"
        _pack(stage, archive)
        kept = shutil.copy2(next(backend.glob("dreamcraft3d-*.whl")), output)
    _validate(archive)
    return [archive, Path(kept)]


def _build_number() -> str:
    """Grows with every build, so that Blender takes the new protocol in the place of the old."""
    at = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(at))


def _download(wheels: Path, all_platforms: bool) -> None:
    """Wheels of what the protocol needs, for each Python and platform."""
    for python in PYTHONS:
        for tags in PLATFORMS if all_platforms else ((),):
            platform = [word for tag in tags for word in ("--platform", tag)]
            command = [
                "download",
                "--only-binary=:all:",
                "--no-deps",
                "--dest",
                str(wheels),
                "--python-version",
                python,
            ]
            _pip([*command, *platform, *BINARY], "The wheels for Blender could not be downloaded from PyPI.")


def _build_protocol(folder: Path, version: str, wheels: Path) -> None:
    """The protocol as a distribution of its own."""
    shutil.copytree(
        ROOT / "shared" / "dreamcraft3d_protocol",
        folder / "dreamcraft3d_protocol",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy2(ROOT / "LICENSE", folder)
    (folder / "pyproject.toml").write_text(PROTOCOL.format(version=version))
    _build_wheel(folder, wheels)


def _build_wheel(source: Path, destination: Path) -> None:
    """A wheel from a copy of the source, so that nothing is left behind in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        unwanted = shutil.ignore_patterns(
            ".*", "__pycache__", "dist", "build", "out", "*.egg-info", "tests", "blender_addon"
        )
        shutil.copytree(source, copy, ignore=unwanted)
        isolated = ["--no-build-isolation"] if _has_setuptools() else []
        command = ["wheel", "--no-deps", "--wheel-dir", str(destination), *isolated]
        _pip([*command, str(copy)], f"The wheel of {source.name} could not be built.")


def _has_setuptools() -> bool:
    """Whether one is here that is new enough, so that none must be downloaded."""
    try:
        return int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False


def _pip(arguments: Sequence[str], trouble: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    raise BuildError(f"{trouble} Look after the network. pip says: {' '.join(said[-1:])}")


def _write_manifest(path: Path, version: str, wheels: Sequence[Path]) -> None:
    """The manifest with this version, and the wheels named."""
    lines = [
        f'version = "{version}"' if line.startswith("version = ") else line for line in path.read_text().splitlines()
    ]
    permissions = lines.index("[permissions]")
    named = ["wheels = [", *(f'  "./wheels/{wheel.name}",' for wheel in wheels), "]", ""]
    path.write_text("\n".join([*lines[:permissions], *named, *lines[permissions:]]) + "\n")


def _pack(folder: Path, archive: Path) -> None:
    temporary = archive.with_suffix(".part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, path.relative_to(folder))
    temporary.replace(archive)


def _validate(archive: Path) -> None:
    """Ask Blender's own validator, where the bpy package is installed."""
    found = importlib.util.find_spec("bpy")
    if found is None or found.origin is None:
        sys.stderr.write("Not validated: Blender's validator comes with the package bpy, which is not installed.\n")
        return
    validator = next(Path(found.origin).parent.rglob("bl_pkg/cli/blender_ext.py"), None)
    if validator is None:
        sys.stderr.write("Not validated: this bpy has no validator.\n")
        return
    done = subprocess.run([sys.executable, str(validator), "validate", str(archive)], capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"Blender refuses {archive}: {(done.stdout + done.stderr).strip()}")


if __name__ == "__main__":
    sys.exit(main())
