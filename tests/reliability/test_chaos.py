"""A few disasters of each kind; ``python tests/reliability/chaos.py`` is the long form.

Seen to fail with a worker that begins anew instead of at its checkpoint, and a supervisor that cannot mend its journal.
"""

from __future__ import annotations

from pathlib import Path

import chaos
import pytest


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
def test_nine_disasters_of_all_kinds_cost_no_job(tmp_path: Path) -> None:
    claims = chaos.run(tmp_path, rounds=9, seed=3, stopped=12.0)
    assert all(claims.values()), claims
