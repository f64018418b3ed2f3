"""What a run leaves in its log.

Seen to fail when: a number is logged a step late, what is taken again is not dropped, the level is another round's, samples
are not restored renders, the last row of a grid is left out, another observer is not told.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import Losses, Watcher, prepare

from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.driver import Driver, Stopped
from dreamcraft3d.pipeline.log import Logged, in_rows
from dreamcraft3d.pipeline.run_folder import RunFolder

Curves = dict[str, list[tuple[int, float]]]


def two_rounds(preset: Preset) -> Preset:
    values = preset.model_dump()
    values["texture"] |= {"restore_levels": [0.5, 0.3]}
    return Preset.model_validate(values)


def logged_run(folder: RunFolder, watcher: Watcher) -> None:
    reopened, request = RunFolder.open(folder.path)
    with Logged(watcher, reopened) as log:
        Driver(request, reopened, log).run()


def curves(folder: RunFolder, stage: str) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.log(stage))).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="module")
def run(tiny_preset: Preset, picture_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Losses]:
    """Stopped once in the middle of the texture stage, and gone on with; its losses are those of all steps."""
    pytest.importorskip("tensorboard")
    folder = prepare(tmp_path_factory.mktemp("log") / "egg.glb", two_rounds(tiny_preset), image=picture_file)
    first, second = Losses(("texture", 3)), Losses()
    with pytest.raises(Stopped):
        logged_run(folder, first)
    logged_run(folder, second)
    second.losses = first.losses | second.losses
    second.samples = first.samples + second.samples
    return folder, second


@pytest.mark.parametrize("stage", ["coarse", "geometry", "texture"])
def test_every_loss_of_every_step_is_a_point_of_its_curve(run: tuple[RunFolder, Losses], stage: str) -> None:
    folder, watcher = run
    expected: Curves = {}
    for (of, step), losses in sorted(watcher.losses.items()):
        for name, value in losses.items() if of == stage else ():
            expected.setdefault(name, []).append((step, value))
    found = curves(folder, stage)
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in points], rel=1e-5)


def test_rounds_and_their_noise_levels_are_logged(run: tuple[RunFolder, Losses]) -> None:
    found = curves(run[0], "texture")
    steps = [step for step, _ in found["round"]]
    assert steps == list(range(1, 9))
    assert [value for _, value in found["round"]] == [1] * 4 + [2] * 4
    assert [value for _, value in found["t'"]] == pytest.approx([0.5] * 4 + [0.3] * 4)


def test_steps_that_are_taken_again_are_logged_once(tmp_path: Path) -> None:
    """As after memory ran out: the stage begins again after its second step."""
    pytest.importorskip("tensorboard")
    folder = RunFolder(tmp_path)
    with Logged(Watcher(), folder) as log:
        log.began("coarse", 4, 0)
        for step in (1, 2, 3):
            log.stepped("coarse", step, {"rgb": float(step)})
        log.began("coarse", 4, 2)
        for step in (3, 4):
            log.stepped("coarse", step, {"rgb": 10.0 * step})
    assert curves(folder, "coarse")["rgb"] == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]


def test_each_rounds_restored_renders_are_a_picture_in_the_log_and_in_the_folder(run: tuple[RunFolder, Losses]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, watcher = run
    assert [(stage, done) for stage, done, _ in watcher.samples] == [("texture", 1), ("texture", 5)]
    events = EventAccumulator(str(folder.log("texture"))).Reload()
    assert [event.step for event in events.Images("samples")] == [1, 5]
    for _, done, pictures in watcher.samples:
        assert len(pictures) == 3  # the reference, and two restored renders
        kept = np.array(Image.open(folder.path / f"texture-samples-{done:05d}.png"))
        expected = (torch.cat(list(pictures), dim=1) * 255).round().byte().numpy()
        assert np.array_equal(kept, expected)
        inside = pictures[1:].amin(dim=-1) < 0.8  # each shows an object on white
        assert 0.02 < inside.float().mean() < 0.6


def test_a_grid_has_every_picture_in_its_place() -> None:
    pictures = torch.arange(6.0)[:, None, None, None].expand(6, 2, 2, 3) / 6
    grid = in_rows(pictures)
    assert grid.shape == (4, 8, 3)
    assert torch.equal(grid[::2, ::2, 0], torch.tensor([[0, 1, 2, 3], [4, 5, 6, 6]]) / 6)


def test_without_tensorboard_a_run_says_nothing_of_it_and_logs_no_losses(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    folder, watcher = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse"), Losses()
    logged_run(folder, watcher)
    assert not [sentence for sentence in watcher.sentences if "log" in sentence.lower()]
    assert watcher.ends == ["reference", "coarse"]
    assert not folder.log("coarse").exists()
