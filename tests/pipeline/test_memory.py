"""Memory runs out while a run goes on, and the run goes on with less.

Seen to fail when: a run does not begin as planned, forgets the plan, or plans on a processor, command line or worker plan
nothing, the ladder takes the means in another order or forgets them in the run's folder, the stage begins anew
instead of at its checkpoint, any RuntimeError counts as want of memory, the checkpoint of a full DreamBooth is handed to
a LoRA.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runs import STEPS, Losses, drive, prepare
from torch import Tensor

from dreamcraft3d import cli
from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline import driver
from dreamcraft3d.pipeline.config import STAGES, Preset, load_preset
from dreamcraft3d.pipeline.driver import Driver
from dreamcraft3d.pipeline.ladder import Ladder, Planned, possible
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.plan.choose import first_means
from dreamcraft3d.priors.adapted import AdaptedGuidance
from dreamcraft3d.priors.embedded import WordsGuidance
from dreamcraft3d.priors.memory import NO_MEANS, Means, ran_out_of_memory
from dreamcraft3d.priors.zero123 import Zero123Guidance
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.service.order import Order
from dreamcraft3d.service.running import run_job
from dreamcraft3d.service.worker_messages import Failed, Run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TOO_MUCH = "CUDA out of memory. Tried to allocate 2.00 GiB."


def small_card(monkeypatch: pytest.MonkeyPatch, guidance: type, room: int = 1, spared: int = 0) -> None:
    """One whose memory does for ``room`` pictures at once; the first ``spared`` calls are let off."""
    ask, calls = guidance.predict_noise, iter(range(1_000_000))

    def predict_noise(self: Any, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        if next(calls) >= spared and len(noisy) > room:
            raise torch.OutOfMemoryError(TOO_MUCH)
        return ask(self, noisy, timesteps, cameras)

    monkeypatch.setattr(guidance, "predict_noise", predict_noise)


def with_views(preset: Preset, views: int) -> Preset:
    values = preset.model_dump()
    for stage in ("coarse", "geometry"):
        values[stage]["distillation"]["views"] = views
    return Preset.model_validate(values | {"name": "tiny"})


@pytest.fixture
def every_step_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "CHECKPOINT_SECONDS", -1.0)


# how a run begins


def card(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """One with so many GiB free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (round(free * 2**30), 80 << 30))


def not_asked(*_: Any) -> Planned:
    raise AssertionError("planned")


def test_a_run_begins_by_the_means_planned_for_what_is_free_and_goes_on_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, 23)
    folder, paper = RunFolder(tmp_path), load_preset("paper")
    ladder = Ladder(folder, paper, CUDA)
    assert ladder.begin(first_means, STAGES) == (
        "23.0 GB are free on the graphics card, which by plan suffices with frozen models in bfloat16; "
        "views one after another, gradients added up."
    )
    assert ladder.means == Means(half=True, one_view=True)
    again = Ladder(folder, paper, CUDA)
    assert again.means == ladder.means
    assert again.begin(not_asked, STAGES) == ""


def test_what_does_not_fit_by_plan_is_tried_by_all_means_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, 3)
    paper = load_preset("paper")
    ranked = paper.model_copy(update={"texture": paper.texture.model_copy(update={"dreambooth_rank": 8})})
    for preset, lora in ((paper, True), (ranked, False)):
        ladder = Ladder(RunFolder(tmp_path / f"{lora}"), preset, CUDA)
        ladder.folder.path.mkdir()
        said = ladder.begin(first_means, STAGES)
        assert (
            "3.0 GB are free on the graphics card, by plan too little for reference, coarse, geometry, texture;" in said
        )
        assert ladder.means == Means(True, True, True, True, True, lora)
        assert ("as a LoRA" in said) == lora


@pytest.mark.parametrize(("preset", "device"), [("paper", CPU), ("embedded", CUDA), ("draft", CPU)])
def test_nothing_is_planned_on_a_processor_or_for_the_embedded_priors(
    preset: str, device: torch.device, tmp_path: Path
) -> None:
    ladder = Ladder(RunFolder(tmp_path), load_preset(preset), device)
    assert ladder.begin(not_asked, STAGES) == ""
    assert ladder.means == NO_MEANS
    assert not (tmp_path / "means.json").exists()


def test_nothing_is_planned_for_a_stage_that_has_begun_or_a_model_of_unknown_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, 6)
    folder, paper = RunFolder(tmp_path), load_preset("paper")
    other = paper.model_copy(update={"priors": paper.priors.model_copy(update={"flat": "sdxl"})})
    ladder = Ladder(folder, other, CUDA)
    assert ladder.begin(first_means, STAGES) == ""
    assert ladder.means == Means(half=True)
    folder.save_checkpoint("coarse", 3, {})
    assert Ladder(folder, paper, CUDA).begin(not_asked, STAGES) == ""


def test_a_run_on_a_card_tells_its_plan_and_does_not_run_out_of_what_it_planned_for(
    models: Path, small_paper: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(monkeypatch, 9)
    small_card(monkeypatch, Zero123Guidance)
    asked: list[Any] = []

    def planner(*given: Any) -> Planned:
        asked.append(given)
        return Planned(Means(one_view=True), ())

    preset = with_views(small_paper, 2)
    folder, watcher = prepare(tmp_path / "egg.glb", preset, image=picture_file, until="coarse"), Losses()
    reopened, request = RunFolder.open(folder.path)
    run = Driver(request, reopened, watcher, planner)
    run.ladder = Ladder(reopened, request.preset, CUDA)  # which computes on this processor all the same
    run.run()
    assert asked == [(request.preset, ("reference", "coarse"), 9 << 30)]
    assert watcher.sentences[0].startswith("9.0 GB are free on the graphics card")
    assert not [sentence for sentence in watcher.sentences if "ran out" in sentence]
    assert folder.read_json("means.json") == asdict(Means(half=True, one_view=True))


@pytest.mark.parametrize("by", ["command line", "worker"])
def test_command_line_and_worker_plan_their_runs(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planners: list[Any] = []

    def begin(self: Ladder, planner: Any, stages: Any) -> str:
        planners.append(planner)
        raise UserError("This is all.")

    monkeypatch.setattr(Ladder, "begin", begin)
    folder = prepare(tmp_path / "object.glb", load_preset("draft"), prompt="a red egg")
    if by == "command line":
        with pytest.raises(UserError, match="This is all"):
            cli._run(*RunFolder.open(folder.path))
    else:
        order = Order(**asked_of(folder), picture=None, mesh=None)
        (tmp_path / "order.json").write_text(order.model_dump_json())
        line: Any = SimpleNamespace(tell=lambda *_: None, wants_stop=lambda _: False, wants_next=lambda *_: False)
        ended = run_job(Run(str(uuid.UUID(int=1)), str(tmp_path), str(tmp_path)), line)
        assert isinstance(ended, Failed)
        assert ended.error.sentence == "This is all."
    assert planners == [first_means]


def asked_of(folder: RunFolder) -> dict[str, Any]:
    """What an order and a run's request share."""
    request = RunFolder.open(folder.path)[1]
    return {name: getattr(request, name) for name in ("prompt", "preset", "seed", "first", "until")}


# the ladder


def test_a_stage_goes_on_with_views_one_by_one_from_its_checkpoint(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_step_kept: None
) -> None:
    preset = with_views(tiny_preset, 2)
    whole = Losses()
    drive(prepare(tmp_path / "whole.glb", preset, image=picture_file, until="coarse"), whole)

    small_card(monkeypatch, WordsGuidance, spared=1)  # the first step that distils is let off
    folder, watcher = prepare(tmp_path / "small.glb", preset, image=picture_file, until="coarse"), Losses()
    drive(folder, watcher)
    told = [sentence for sentence in watcher.sentences if "memory" in sentence]
    assert told == [
        "The computer ran out of memory (stage coarse); going on with views one after another, gradients added up."
    ]
    fitted = preset.coarse.fit_steps
    assert [(stage, done) for stage, _, done in watcher.begun if stage == "coarse"] == [
        ("coarse", 0),
        ("coarse", fitted + 1),
    ]
    last = max(done for stage, done in whole.losses if stage == "coarse")
    assert watcher.losses["coarse", last] == pytest.approx(whole.losses["coarse", last], rel=1e-3)


def test_full_size_models_take_the_cheaper_means_first_and_keep_them(
    models: Path, small_paper: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_card(monkeypatch, Zero123Guidance)
    folder, watcher = (
        prepare(tmp_path / "egg.glb", with_views(small_paper, 2), image=picture_file, until="coarse"),
        Losses(),
    )
    drive(folder, watcher)
    told = [sentence.split("with ")[1] for sentence in watcher.sentences if "memory" in sentence]
    assert told == ["frozen models in bfloat16.", "views one after another, gradients added up."]
    assert folder.result("coarse").is_file()
    assert watcher.steps[-1] == ("coarse", STEPS)

    again = Losses()
    reopened, request = RunFolder.open(folder.path)
    assert Ladder(reopened, request.preset, CPU).means == Means(half=True, one_view=True)
    reopened.result("coarse").unlink()
    drive(reopened, again)
    assert not [sentence for sentence in again.sentences if "memory" in sentence]


def test_where_nothing_is_left_there_is_a_sentence_with_what_to_do(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_card(monkeypatch, WordsGuidance, room=0)
    folder = prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse")
    with pytest.raises(UserError, match=r"ran out of memory in the stage coarse") as caught:
        drive(folder)
    assert "dreamcraft3d plan --preset tiny" in caught.value.hint
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_a_dreambooth_made_a_lora_begins_its_stage_again(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_step_kept: None
) -> None:
    """Its weights are not those in the checkpoint. Memory runs out where all weights are trained, at the second step."""
    learn, steps = AdaptedGuidance.loss, iter(range(1_000_000))

    def loss(self: AdaptedGuidance, *given: Any) -> Tensor:
        if len(self.parameters) == len(list(self.unet.parameters())) and next(steps) > 0:
            raise torch.OutOfMemoryError(TOO_MUCH)
        return learn(self, *given)

    monkeypatch.setattr(AdaptedGuidance, "loss", loss)
    values = tiny_preset.model_dump()
    values["texture"] |= {"dreambooth_batch": 1, "dreambooth_rank": 0}
    folder, watcher = prepare(tmp_path / "egg.glb", Preset.model_validate(values), image=picture_file), Losses()
    drive(folder, watcher)
    told = [sentence for sentence in watcher.sentences if "memory" in sentence]
    assert [re.sub(r".*with ", "", sentence) for sentence in told] == [
        "views one after another, gradients added up.",
        "DreamBooth as a LoRA, not all weights, from the stage's beginning.",
    ]
    assert [done for stage, _, done in watcher.begun if stage == "texture"][-1] == 0
    assert folder.result("texture").is_file()


def test_other_errors_are_not_taken_for_want_of_memory(
    tiny_preset: Preset, picture_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: WordsGuidance, *_: Any) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(WordsGuidance, "predict_noise", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        drive(prepare(tmp_path / "egg.glb", tiny_preset, image=picture_file, until="coarse"))


def test_want_of_memory_is_known_by_what_torch_really_says() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert ran_out_of_memory(caught.value)
    assert ran_out_of_memory(torch.OutOfMemoryError(TOO_MUCH))
    assert ran_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9.0 GB)"))
    assert ran_out_of_memory(MemoryError())
    assert not ran_out_of_memory(RuntimeError("shapes do not match"))
    assert not ran_out_of_memory(ValueError("out of memory"))


def test_only_means_that_change_something_are_on_the_ladder(tiny_preset: Preset, small_paper: Preset) -> None:
    assert possible(tiny_preset, CPU) == {"one_view", "lora"}
    assert possible(small_paper, CUDA) == {"half", "words_elsewhere", "one_view", "checkpointing", "offload", "lora"}
    assert possible(small_paper, CPU) == {"half", "one_view", "checkpointing", "lora"}
    ranked = small_paper.model_copy(update={"texture": small_paper.texture.model_copy(update={"dreambooth_rank": 8})})
    assert "lora" not in possible(ranked, CUDA)


def test_on_a_graphics_card_frozen_models_are_bfloat16_from_the_start(small_paper: Preset, tmp_path: Path) -> None:
    assert Ladder(RunFolder(tmp_path), small_paper, CUDA).means == Means(half=True)
    assert Ladder(RunFolder(tmp_path), small_paper, CPU).means == NO_MEANS


# each means in force
