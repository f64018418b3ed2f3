"""The add-on as an artist has it: built, installed from its zip into an empty user folder, enabled."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if "BLENDER_USER_RESOURCES" not in os.environ:  # before bpy is imported anywhere
    os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="blender-")
bpy = pytest.importorskip("bpy")
from growing import Growing  # noqa: E402 (it imports bpy)
from refining import Refining  # noqa: E402
from stage_backend import Stage  # noqa: E402

ADDON = "bl_ext.user_default.dreamcraft3d"
_ended: list[int] = []


def pytest_sessionfinish(exitstatus: int) -> None:
    _ended.append(int(exitstatus))


def pytest_unconfigure() -> None:
    """Before version 5, a Python that has used Blender's own glTF exporter crashes as it ends; so it ends before that."""
    if _ended and bpy.app.version < (5, 0, 0):
        sys.stdout.flush()
        os._exit(_ended[0])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's zip: ``ADDON_ZIP``, or else built now."""
    given = os.environ.get("ADDON_ZIP")
    if given:
        return Path(given)
    import build_addon

    try:
        return build_addon.build(tmp_path_factory.mktemp("dist"))[0]
    except build_addon.BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def installed(archive: Path) -> str:
    """The add-on, installed; its module's name."""
    bpy.ops.extensions.package_install_files(filepath=str(archive), repo="user_default", enable_on_install=True)
    assert ADDON in bpy.context.preferences.addons
    return ADDON


@pytest.fixture
def part(installed: str) -> Callable[[str], ModuleType]:
    """Modules of the installed add-on by their names in it."""
    return lambda name: importlib.import_module(f"{installed}.{name}")


@pytest.fixture
def blender(
    installed: str, part: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """An empty file, and preferences that name a data folder of the test's own; gives the preferences."""
    monkeypatch.delenv("DREAMCRAFT3D_PYTHON", raising=False)
    preferences = bpy.context.preferences.addons[installed].preferences
    preferences.data, preferences.python, preferences.autostart = str(tmp_path / "data"), "", True
    preferences.torch_index = ""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.ed.undo_push(message="Empty")
    yield preferences
    preferences = bpy.context.preferences.addons[installed].preferences  # looked up afresh: a test may have disabled it
    preferences.data, preferences.python, preferences.where = str(tmp_path / "nowhere"), "", "LOCAL"
    pump = part("pump")
    pump.studio().close()
    pump._Held.studio = None  # with orders that nobody has taken, which are not the next test's
    pump.studio()


@pytest.fixture
def growing(blender: Any, part: Callable[[str], ModuleType]) -> Growing:
    """An object that grows at (1, 2, 3)."""
    bpy.context.scene.cursor.location = (1, 2, 3)
    return Growing(part)


@pytest.fixture
def stage(blender: Any, part: Callable[[str], ModuleType], tmp_path: Path) -> Iterator[Stage]:
    """An empty file, and a backend that a test moves."""
    blender.autostart = False
    stage = Stage(part, tmp_path / "data")
    stage.settle()
    yield stage
    stage.backend.close()


@pytest.fixture
def refining(blender: Any, part: Callable[[str], ModuleType], tmp_path: Path) -> Iterator[Refining]:
    """An empty file, and a scripted backend for objects that are refined."""
    made = Refining(part, tmp_path / "data")
    yield made
    made.backend.close()
