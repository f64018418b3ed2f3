"""Where a session keeps its things, and a studio that talks to a scripted backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blender_addon.core.session import Session
from blender_addon.core.settings import Settings
from blender_addon.core.studio import Studio
from launcher import wait_until
from scripted_backend import ScriptedBackend


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An artist's machine without a backend."""
    monkeypatch.delenv("DREAMCRAFT3D_PYTHON", raising=False)
    return Settings("", tmp_path / "data", tmp_path / "home", tmp_path / "addon", "0.1.0")


@pytest.fixture
def backend(settings: Settings) -> Iterator[ScriptedBackend]:
    backend = ScriptedBackend(settings.data)
    yield backend
    backend.close()


@pytest.fixture
def studio(settings: Settings, backend: ScriptedBackend) -> Iterator[Studio]:
    """Connected to the scripted backend."""
    studio = Studio(Session(settings))
    wait_until(lambda: backend.serve() is not None and studio.tick(0.01) >= 0 and studio.session.connected)
    yield studio
    studio.close()
