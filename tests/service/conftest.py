"""A real backend for all tests, and one for each that ends or breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from serving import TINY, Backend

from dreamcraft3d.service.auth import Gate
from dreamcraft3d.service.folder import DataFolder


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One for all tests that leave it running."""
    backend = Backend(tmp_path_factory.mktemp("service") / "data")
    yield backend
    backend.close()


@pytest.fixture
def own_backend(tmp_path: Path) -> Iterator[Backend]:
    """One for a test that ends or breaks it."""
    backend = Backend(tmp_path / "data")
    yield backend
    backend.close()


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "tiny.toml").write_text(TINY.format(density_steps=2))
    return DataFolder(tmp_path)


@pytest.fixture
def gate() -> Iterator[tuple[zmq.Context, Gate]]:
    with zmq.Context() as context:
        gate = Gate(context)
        yield context, gate
        gate.close()
        context.destroy(linger=0)
