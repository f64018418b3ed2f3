"""``python tests/reliability/intruders.py``, as a test."""

from __future__ import annotations

from pathlib import Path

import intruders


def test_nobody_gets_in_or_far_who_should_not(tmp_path: Path) -> None:
    assert all(intruders.run(tmp_path).values())
