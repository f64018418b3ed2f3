"""What a run will hold on a card: weights counted, activations foretold, and the means by which it fits."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch import nn

from dreamcraft3d import cli
from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES, Preset, ReferenceLosses, changed, load_preset
from dreamcraft3d.pipeline.losses import weight_at
from dreamcraft3d.plan.activations import laws, mesh_bytes, pass_bytes, tetrahedra_bytes, volume_bytes
from dreamcraft3d.plan.choose import GIB, RESERVE, plan_run, plan_stage
from dreamcraft3d.plan.measure import SUBJECTS, PeakMemory, peak_bytes, small_model
from dreamcraft3d.plan.measure_scenes import faces_of, mesh_peak, tetrahedra_peak, volume_peak
from dreamcraft3d.plan.models import CAMERA_PROJECTION
from dreamcraft3d.plan.stages import moments
from dreamcraft3d.plan.weights import lora_parameters, lora_size, parameters, read_config
from dreamcraft3d.priors.memory import Means

WITHIN = 0.15


@pytest.fixture(scope="module")
def paper() -> Preset:
    return load_preset("paper")


# Weights

EXACT = {
    # github.com/SoarCraft/Stable123Keypoints, zero123plus_model_structure.md: Stable Diffusion 2's parts, listed
    "sd-2-1-base-unet": 865_910_724,
    "sd-vae": 83_653_863,
    "sd-2-1-base-text-encoder": 340_387_840,
    # Stable Diffusion 1's 859,520,964, and 3 x 3 weights from four more channels to 320
    "zero123-unet": 859_520_964 + 4 * 320 * 9,
    # Stable Diffusion 2's, and 3 x 3 weights from four more channels to 320
    "marigold-unet": 865_910_724 + 4 * 320 * 9,
}
ROUNDED = {
    # cards of DeepFloyd/IF-I-XL-v1.0, -L-, -M-, and the model zoo of github.com/deep-floyd/IF: 4.3B, 900M, 400M
    "if-i-xl-unet": (4.3e9, 0.05e9),
    "if-i-l-unet": (900e6, 50e6),
    "if-i-m-unet": (400e6, 50e6),
    # 4.76 B: half of the 11 B of google/t5-v1_1-xxl, without its decoder; CLIP ViT-L/14's image half of 428 M: 304 M
    "t5-v1-1-xxl-encoder": (4.76e9, 0.005e9),
    "clip-vit-l-14-vision": (304e6, 0.5e6),
}


@pytest.mark.parametrize("name", EXACT)
def test_weights_are_as_many_as_listed(name: str) -> None:
    assert parameters(name) == EXACT[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_weights_are_as_many_as_on_the_card_in_its_digits(name: str) -> None:
    figure, half_a_digit = ROUNDED[name]
    assert abs(parameters(name) - figure) <= half_a_digit


def test_if_xl_in_two_bytes_is_the_size_of_its_file() -> None:
    """huggingface.co/ckpt/IF-I-XL-v1.0-16bit, unet: 8.61 GB."""
    assert round(2 * parameters("if-i-xl-unet") / 1e9, 2) == 8.61


def test_zero123s_projection_is_a_linear_layer_from_picture_and_pose() -> None:
    assert sum(p.numel() for p in nn.Linear(772, 768).parameters()) == CAMERA_PROJECTION


@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_every_config_names_its_source(name: str) -> None:
    assert len(read_config(name).source) > 20


def test_a_loras_weights_are_as_many_as_peft_adds() -> None:
    unet = small_model(SUBJECTS["sd-unet"], 32)
    assert isinstance(unet, UNet2DConditionModel)
    foretold = lora_size(unet, 8)
    unet.add_adapter(LoraConfig(r=8, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    assert foretold == sum(p.numel() for n, p in unet.named_parameters() if "lora" in n)
    assert lora_parameters("sd-2-1-base-unet", 8) == 2 * lora_parameters("sd-2-1-base-unet", 4)


# Activations


def test_the_peak_is_what_is_held_at_once() -> None:
    module = nn.Linear(1, 1)
    with PeakMemory(module) as memory:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b + 1
        del b, c
    assert memory.peak == 2 * 4 * 1000
    assert memory.now == 0


HELD_OUT = {  # a width, a size and a batch that no law was fitted to
    "if-unet": (96, 40, 2),
    "zero123-unet": (96, 20, 2),
    "sd-unet": (96, 20, 2),
    "vae-encoder": (96, 72, 1),
    "vae-decoder": (96, 10, 2),
}


@pytest.mark.parametrize(("name", "how"), [(name, how) for name in HELD_OUT for how in SUBJECTS[name].passes])
def test_a_held_out_pass_takes_what_its_law_foretells(name: str, how: str) -> None:
    channels, size, batch = HELD_OUT[name]
    assert channels not in SUBJECTS[name].channels
    assert size not in SUBJECTS[name].sizes
    torch.manual_seed(0)
    measured = peak_bytes(small_model(SUBJECTS[name], channels), how, batch, size, SUBJECTS[name].decode)
    assert pass_bytes(name, how, channels, size, batch) == pytest.approx(measured, rel=WITHIN)


def test_held_out_renders_take_what_their_laws_foretell() -> None:
    assert volume_bytes(40, 192, 1) == pytest.approx(volume_peak(40, 192), rel=WITHIN)
    assert mesh_bytes(256, faces_of(5), 1) == pytest.approx(mesh_peak(256, 5), rel=WITHIN)
    assert tetrahedra_bytes(40) == pytest.approx(tetrahedra_peak(40, 0), rel=WITHIN)


def test_half_precision_halves_activations() -> None:
    whole, half = (pass_bytes("sd-unet", "train", 320, 64, 2, half) for half in (False, True))
    assert half == pytest.approx(whole / 2, abs=1)


def test_every_law_is_used_and_measured() -> None:
    assert set(laws()) == {*SUBJECTS, "volume", "mesh", "tetrahedra"}


# Stages


def test_the_text_encoder_is_never_on_the_card_with_anything_else(paper: Preset) -> None:
    for stage in STAGES:
        for moment in moments(stage, paper, Means()):
            assert "text encoder" not in moment.items or len(moment.items) == 1


def test_a_trained_weight_takes_sixteen_bytes(paper: Preset) -> None:
    learning = next(m for m in moments("texture", paper, Means()) if m.name == "DreamBooth learns")
    assert learning.items["DreamBooth, gradient, optimiser"] == 16 * EXACT["sd-2-1-base-unet"]


def test_a_dreambooth_that_is_reminded_learns_twice_as_many_pictures(paper: Preset) -> None:
    def learning(preset: Preset) -> int:
        return next(
            m.items["activations"] for m in moments("texture", preset, Means()) if m.name == "DreamBooth learns"
        )

    batch = paper.texture.dreambooth_batch
    reminded, doubled = ({"texture": change} for change in ({"preserved": 50}, {"dreambooth_batch": 2 * batch}))
    assert learning(changed(paper, reminded)) == learning(changed(paper, doubled)) > learning(paper)


def test_what_a_texture_method_does_without_is_not_held(paper: Preset) -> None:
    names = {}
    for method in ("sds", "vsd", "bsd"):
        found = moments("texture", changed(paper, {"texture": {"method": method}}), Means())
        names[method] = [moment.name for moment in found if moment.name != "words"]
        held = {item.split(",")[0] for moment in found for item in moment.items}
        assert ("follower (LoRA)" in held, "DreamBooth" in held) == (method != "sds", method == "bsd")
    assert names["sds"] == ["2D prior is asked"]
    assert names["vsd"] == ["2D prior and LoRA are asked", "LoRA learns"]
    assert len(names["bsd"]) == 4


def test_frozen_weights_take_four_bytes_or_two(paper: Preset) -> None:
    for half, width in ((False, 4), (True, 2)):
        asked = next(m for m in moments("coarse", paper, Means(half=half)) if m.name == "2D prior is asked")
        assert asked.items["2D prior"] == width * parameters("if-i-xl-unet")


def test_with_perp_neg_the_2d_prior_is_asked_under_four_conditions_not_two(paper: Preset) -> None:
    def activations(perp_neg: bool) -> int:
        preset = paper.model_copy(update={"priors": paper.priors.model_copy(update={"perp_neg": perp_neg})})
        asked = next(m for m in moments("coarse", preset, Means()) if m.name == "2D prior is asked")
        return asked.items["activations"]

    assert activations(True) == pytest.approx(2 * activations(False), rel=0.01)


def test_offloaded_priors_are_on_the_card_one_at_a_time(paper: Preset) -> None:
    for stage in ("coarse", "geometry"):
        for moment in moments(stage, paper, Means(offload=True)):
            assert not {"2D prior", "3D prior"} <= set(moment.items)


@pytest.mark.parametrize("name", ["half", "one_view", "checkpointing", "offload", "lora"])
def test_each_means_lowers_the_fullest_moment_of_some_stage(paper: Preset, name: str) -> None:
    def fullest(stage: str, means: Means) -> int:
        return max(moment.total for moment in moments(stage, paper, means))

    saved = [fullest(s, Means()) - fullest(s, replace(Means(), **{name: True})) for s in STAGES]
    assert min(saved) >= 0
    assert max(saved) > 0


def test_the_text_encoder_elsewhere_spares_its_moment(paper: Preset) -> None:
    assert "words" not in [m.name for m in moments("coarse", paper, Means(words_elsewhere=True))]


@pytest.mark.parametrize(("preset", "vram"), [("paper", 24), ("12gb", 12), ("as-released", 24)])
def test_there_is_a_feasible_plan_for_every_stage(preset: str, vram: float) -> None:
    plans = plan_run(load_preset(preset), vram)
    assert [plan.stage for plan in plans] == list(STAGES)
    for plan in plans:
        assert plan.fits
        assert max(moment.total for moment in plan.moments) <= vram * GIB - RESERVE


def test_with_room_for_everything_no_means_is_taken(paper: Preset) -> None:
    assert all(plan.means == Means() for plan in plan_run(paper, 200))


def test_weights_are_left_untrained_only_where_nothing_else_does(paper: Preset) -> None:
    assert not plan_stage("texture", paper, 23 * GIB).means.lora
    small = plan_stage("texture", paper, 11 * GIB)
    assert small.means.lora
    all_but_lora = Means(half=True, words_elsewhere=True, one_view=True, checkpointing=True, offload=True)
    assert max(moment.total for moment in moments("texture", paper, all_but_lora)) > 11 * GIB


def test_a_stage_that_cannot_fit_says_so_with_every_means_taken(paper: Preset) -> None:
    plan = plan_stage("coarse", paper, 4 * GIB)
    assert not plan.fits
    assert plan.means == Means(half=True, words_elsewhere=True, one_view=True, checkpointing=True, offload=True)


def test_a_model_of_unknown_make_is_a_sentence(paper: Preset) -> None:
    priors = paper.priors.model_copy(update={"texture": "stable-diffusion-1-5"})
    with pytest.raises(UserError, match="stable-diffusion-1-5"):
        plan_run(paper.model_copy(update={"priors": priors}), 24)


# The command


def run_plan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dreamcraft3d", "plan", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_shows_every_stage_and_its_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_plan(monkeypatch, "--preset", "12gb", "--vram", "12") == 0
    shown = capsys.readouterr().out
    assert all(f"{stage} fits" in shown for stage in STAGES)
    assert "frozen models in bfloat16" in shown


def test_a_card_too_small_ends_with_a_sentence_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_plan(monkeypatch, "--preset", "paper", "--vram", "12") == 2
    shown, said = capsys.readouterr()
    assert "coarse does not fit" in shown
    assert "paper does not fit on 12 GB: coarse cannot." in said


def test_embedded_priors_need_no_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_plan(monkeypatch, "--preset", "embedded") == 2
    assert "need no graphics card" in capsys.readouterr().err


# As released: the loss weights of configs/dreamcraft3d-*.yaml in the authors' repository


def test_as_released_has_the_released_loss_weights() -> None:
    preset = load_preset("as-released")
    both = ReferenceLosses(rgb=1000.0, mask=100.0, depth=0.05, normal=0.0)
    assert preset.coarse.reference == both
    assert preset.geometry.reference == ReferenceLosses(rgb=1000.0, mask=100.0, depth=0.0, normal=0.0)
    assert preset.texture.reference == ReferenceLosses(rim=4, rgb=1000.0, mask=100.0, depth=0.0, normal=0.0)
    for stage in (preset.coarse.distillation, preset.geometry.distillation):
        assert (stage.weight, stage.mu * stage.weight) == (0.1, 0.1)
    assert preset.texture.weight == 0.01
    entropy = [weight_at(preset.coarse.sparsity, step) for step in (0, 1000, 2000, 4999, 5000, 9999)]
    assert entropy == pytest.approx([0.1, 5.05, 10.0, 10.0, 0.1, 0.1])
    assert preset.coarse.eikonal == 0.0
    smooth = preset.coarse
    steps = (0, 1000, 2000, 4999, 5000, 9999)
    assert [weight_at(smooth.orientation, step) for step in steps] == [1.0, 5.5, 10.0, 10.0, 10.0, 10.0]
    assert [weight_at(smooth.flatness, step) for step in steps] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert [weight_at(smooth.continuity, step) for step in steps] == [5.0, 3.0, 1.0, 1.0, 0.0, 0.0]
    consistency = [weight_at(preset.geometry.consistency, step) for step in (0, 1000, 1500, 2000, 4999)]
    assert consistency == pytest.approx([10.0, 10.0, 5.5, 1.0, 1.0])


def test_as_released_has_the_released_rounds() -> None:
    texture = load_preset("as-released").texture
    levels = tuple(round(0.5 - 0.3 * start / 5000, 2) for start in range(0, 5000, 1000))
    assert texture.restore_levels == levels
    assert len(levels) * (texture.dreambooth_steps + texture.distil_steps) == 5000
    assert texture.guidance_scale == 2.0
    assert (texture.timesteps_start, texture.timesteps_end) == ((0.05, 0.5), (0.05, 0.2))
    assert (texture.identifier, texture.camera) == (False, False)
    assert (texture.dreambooth_rank, texture.lora_rank, texture.half) == (0, 0, True)
    assert (texture.restore_every, texture.restored_views) == (25, 11)


def test_as_released_distils_as_the_released_code() -> None:
    preset, paper = load_preset("as-released"), load_preset("paper")
    assert preset.priors.perp_neg
    assert preset.coarse.alternate
    assert preset.geometry.alternate
    assert preset.geometry.view_always
    assert preset.texture.alternate
    hybrid = preset.geometry.distillation
    assert (hybrid.timesteps_start, hybrid.timesteps_end, hybrid.view_timesteps) == (
        (0.02, 0.5),
        (0.02, 0.5),
        (0.2, 0.5),
    )
    assert not any((paper.priors.perp_neg, paper.coarse.alternate, paper.geometry.alternate, paper.texture.alternate))
    assert not paper.geometry.view_always
    assert (paper.texture.identifier, paper.texture.camera) == (True, True)


def test_the_papers_preset_smooths_by_nothing_that_was_meant_for_lattices() -> None:
    paper = load_preset("paper")
    assert (paper.coarse.smoothness, paper.coarse.colour_smoothness) == (0.0, 0.0)
    assert (paper.geometry.smoothness, paper.texture.smoothness) == (0.0, 0.0)
