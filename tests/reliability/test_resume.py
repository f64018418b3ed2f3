"""A small run, interrupted four times; ``python tests/reliability/resume.py`` is the long form.

Seen to fail where a stage's checkpoint lacks its generator's state.
"""

from __future__ import annotations

from pathlib import Path

import resume

from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.run_folder import Request, RunFolder


def test_a_run_that_is_stopped_and_killed_ends_with_the_same_object(tmp_path: Path, tiny_preset: Preset) -> None:
    values = tiny_preset.model_dump()
    values["coarse"]["density_steps"] = values["geometry"]["steps"] = 30  # long enough to be interrupted in
    asked = {"prompt": "a red mushroom", "image": None, "mesh": None, "seed": 0, "version": "0"}
    for name in ("peaceful", "disturbed"):
        folder, _ = RunFolder.create(tmp_path / f"{name}.glb", {})
        preset = Preset.model_validate(values)
        folder.write_request(Request(output=f"{name}.glb", preset=preset, first="coarse", until="texture", **asked))
    assert resume.compare(tmp_path, preset="tiny", interruptions=4, seed=0)
