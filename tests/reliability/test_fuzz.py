"""Hostile frames, in short; ``python tests/reliability/fuzz.py`` is the long form."""

from __future__ import annotations

from pathlib import Path

import fuzz


def test_three_thousand_hostile_frames_harm_neither_the_decoder_nor_a_backend(tmp_path: Path) -> None:
    claims = fuzz.run(tmp_path, frames=3000, seed=1)
    assert all(claims.values()), claims
