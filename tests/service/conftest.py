"""A real backend for all tests, and one for each that ends or breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Backend


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
