"""What TensorBoard shows of the jobs of a data folder. Seen to fail without a title, and without samples."""

from __future__ import annotations

import pytest
from serving import Backend, is_state, read_until, submit

pytest.importorskip("tensorboard")


def test_each_jobs_losses_and_pictures_are_found_by_its_words(backend: Backend) -> None:
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    client = backend.client()
    jobs = {seed: submit(client, seed=seed) for seed in (1, 2)}
    for job in jobs.values():
        read_until(client, is_state(job, "done"))
    shown = EventMultiplexer().AddRunsFromDirectory(str(backend.data / "jobs")).Reload()
    for seed, job in jobs.items():
        log = f"{job}/object/log/a red mushroom, tiny, seed {seed}"
        runs = {name: shown.GetAccumulator(name).Tags() for name in shown.Runs() if name.startswith(job)}
        assert set(runs) == {f"{log}/{stage}" for stage in ("coarse", "geometry", "texture")}
        for stage, loss in (("coarse", "views"), ("geometry", "distillation"), ("texture", "rgb")):
            assert loss in runs[f"{log}/{stage}"]["scalars"], runs
            assert len(shown.GetAccumulator(f"{log}/{stage}").Scalars(loss)) >= 2
        assert runs[f"{log}/texture"]["images"] == ["samples"]
