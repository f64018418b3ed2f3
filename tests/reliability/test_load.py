"""The supervisor under load, in short; ``python tests/reliability/load.py`` is the long form."""

from __future__ import annotations

from pathlib import Path

import load
import pytest


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_three_hundred_jobs_and_twenty_clients_of_whom_one_is_slow_and_one_stopped(tmp_path: Path) -> None:
    claims, _ = load.run(tmp_path, jobs=300, clients=20, minutes=0.35, job_seconds=1.0)
    assert all(claims.values()), claims
