"""Presets of one's own, beside those in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import load_preset, preset_names


def test_an_own_preset_changes_its_base_and_takes_its_files_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "draft"\nabout = "Mine"\n[geometry]\nsteps = 3\n')
    mine, draft = load_preset("mine", tmp_path), load_preset("draft")
    assert preset_names(tmp_path) == sorted([*preset_names(), "mine"])
    assert (mine.name, mine.about, mine.geometry.steps) == ("mine", "Mine", 3)
    assert mine.coarse == draft.coarse


def test_an_own_preset_may_build_on_another(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('base = "draft"\n[geometry]\nsteps = 3\n')
    (tmp_path / "two.toml").write_text('base = "one"\n[texture]\ndistil_steps = 1\n')
    two = load_preset("two", tmp_path)
    assert (two.geometry.steps, two.texture.distil_steps) == (3, 1)


def test_the_packages_presets_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "draft.toml").write_text('base = "embedded"\nabout = "Not the draft"\n')
    assert load_preset("draft", tmp_path) == load_preset("draft")


def test_without_a_folder_of_ones_own_there_are_those_of_the_package(tmp_path: Path) -> None:
    assert preset_names(tmp_path / "nowhere") == preset_names()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base = ", "cannot be read"),
        ('base = "mine"', "based on itself"),
        ('base = "best"', '"best"'),
        ('base = "draft"\nspeed = 9', "speed"),
        ('base = "draft"\n[geometry]\nsteps = "many"', "steps"),
        ('base = "draft"\n[texture]\nbreadth = 16', "odd number of pixels"),
    ],
)
def test_a_preset_with_a_mistake_is_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=words):
        load_preset("mine", tmp_path)


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('base = "draft"')
    with pytest.raises(UserError, match="no preset"):
        load_preset(f"../{tmp_path.name}/mine", tmp_path)
