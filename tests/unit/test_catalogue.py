"""The catalogue of models: what every entry must say."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.catalogue import Model, Role, catalogue, find_model
from dreamcraft3d.models.folder import wanted
from dreamcraft3d.pipeline.config import load_preset, preset_names


def test_every_role_has_a_model() -> None:
    assert {role for model in catalogue().values() for role in model.roles} == set(get_args(Role))


def test_no_model_invents_a_checksum() -> None:
    assert not any(model.sha256 for model in catalogue().values())


def test_every_gated_or_non_commercial_licence_is_flagged() -> None:
    flagged = {name for name, model in catalogue().items() if model.non_commercial}
    assert {
        name for name, model in catalogue().items() if "nc" in model.licence or "deepfloyd" in model.licence
    } == flagged
    assert {name for name, model in catalogue().items() if model.gated} == {
        f"deepfloyd-if-{s}" for s in ("xl", "l", "m")
    }


def test_mirrors_are_asked_in_order_and_the_vanished_original_last() -> None:
    assert find_model("stable-diffusion-2-1-base").repositories[-1] == "stabilityai/stable-diffusion-2-1-base"
    assert all(len(set(model.repositories)) == len(model.repositories) for model in catalogue().values())


def test_patterns_let_through_what_is_needed_and_no_pickles() -> None:
    sd = find_model("stable-diffusion-2-1-base")
    assert wanted(sd, "unet/diffusion_pytorch_model.safetensors")
    assert wanted(sd, "text_encoder/config.json")
    assert not wanted(sd, "unet/diffusion_pytorch_model.fp16.safetensors")
    assert not wanted(sd, "v2-1_512-ema-pruned.ckpt")
    assert not wanted(sd, "unet/../../other/unet/config.json")
    pickled = ("pytorch_model.bin", "unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.fp16.bin")
    assert not any(wanted(model, file) for model in catalogue().values() for file in pickled)


def test_an_entry_with_a_mistake_is_refused() -> None:
    good = find_model("blip").model_dump()
    for change in ({"roles": ["poetry"]}, {"repositories": []}, {"gigabytes": 0}, {"sources": []}, {"speed": 1}):
        with pytest.raises(ValidationError):
            Model.model_validate(good | change)


def test_an_unknown_name_is_a_sentence_that_names_the_known() -> None:
    with pytest.raises(UserError, match="zero123-xl"):
        find_model("best")


def test_every_presets_priors_are_in_the_catalogue_with_the_right_role() -> None:
    for name in preset_names():
        for use, model in load_preset(name).priors.model_dump(exclude={"perp_neg"}).items():
            role = "text-to-image" if use == "picture" else use
            assert model == "embedded" or role in find_model(model).roles
