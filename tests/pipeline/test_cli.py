"""The command line: what it says to mistakes, and Ctrl-C in the middle of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import own_uv
import pytest
import trimesh
from PIL import Image

from dreamcraft3d import cli
from dreamcraft3d.pipeline.config import Preset
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.shape.meshio import load_uv_mesh


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Say = Callable[..., Said]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run ``dreamcraft3d ...`` in this process."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["dreamcraft3d", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return Said(int(end.value.code or 0), out, err)

    return run


def everything_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


def assert_one_sentence(said: Said, *words: str) -> None:
    """A mistake: exit status 2, one line on standard error that names the thing, no traceback."""
    assert said.code == 2
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "Traceback" not in said.err
    assert said.err.strip().endswith((".", "?"))
    for word in words:
        assert word in said.err


def broken_picture(folder: Path) -> Path:
    whole = folder / "whole.png"
    Image.effect_noise((64, 64), 80).save(whole)
    path = folder / "broken.png"
    path.write_bytes(whole.read_bytes()[:600])
    whole.unlink()
    return path


def test_a_missing_picture(say: Say, here: Path) -> None:
    assert_one_sentence(say("generate", "--image", "nowhere.png", "--preset", "draft"), "nowhere.png")
    assert everything_in(here) == set()


def test_brackets_in_a_sentence_are_not_swallowed(say: Say, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_sentence(say("generate", "--image", "red[1].png", "--preset", "draft"), "red[1].png")
    cli.ProgressBars().said("pip install 'dreamcraft3d[onnx]'")
    assert "dreamcraft3d[onnx]" in capsys.readouterr().err


def test_a_broken_picture(say: Say, here: Path) -> None:
    broken_picture(here)
    assert_one_sentence(say("generate", "--image", "broken.png", "--preset", "draft"), "broken.png")
    assert everything_in(here) == {"broken.png"}


def test_a_text_file_as_a_picture(say: Say, here: Path) -> None:
    (here / "notes.png").write_text("not a picture")
    assert_one_sentence(say("generate", "--image", "notes.png"), "notes.png")
    assert everything_in(here) == {"notes.png"}


def test_a_picture_that_is_transparent_all_over(say: Say, here: Path) -> None:
    Image.new("RGBA", (64, 64), (255, 0, 0, 0)).save(here / "ghost.png")
    assert_one_sentence(say("generate", "--image", "ghost.png"), "ghost.png", "transparent")
    assert everything_in(here) == {"ghost.png"}


def test_a_picture_of_nothing(say: Say, here: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(here / "white.png")
    assert_one_sentence(say("generate", "--image", "white.png"), "No object")
    assert everything_in(here) == {"white.png"}


@pytest.mark.parametrize("arguments", [["generate"], ["generate", "  "], ["texture", "box.glb", ""]])
def test_neither_prompt_nor_picture(say: Say, here: Path, arguments: list[str]) -> None:
    trimesh.creation.box().export(here / "box.glb")
    assert_one_sentence(say(*arguments), "nothing to make", "--image")
    assert everything_in(here) == {"box.glb"}


def test_an_unknown_preset_lists_the_known_ones(say: Say, here: Path) -> None:
    assert_one_sentence(say("generate", "a red mushroom", "--preset", "best"), '"best"', "draft", "embedded")
    assert everything_in(here) == set()


def test_unknown_words_come_with_suggestions(say: Say, here: Path) -> None:
    assert_one_sentence(say("generate", "a red mushrom"), '"mushrom"', "Did you mean", "mushroom")
    assert everything_in(here) == set()


def test_unknown_words_beside_a_picture_stop_the_run_before_it_starts(say: Say, here: Path, picture_file: Path) -> None:
    assert_one_sentence(say("generate", "a red mushrom", "--image", str(picture_file)), '"mushrom"')
    assert everything_in(here) == set()


def test_an_unknown_stage_lists_the_stages(say: Say, here: Path) -> None:
    assert_one_sentence(say("generate", "a red mushroom", "--until", "paint"), '"paint"', "coarse", "texture")
    trimesh.creation.box().export(here / "box.glb")
    said = say("sculpt", "box.glb", "a small house", "--until", "coarse")
    assert_one_sentence(said, '"coarse"', "geometry")
    assert everything_in(here) == {"box.glb"}


@pytest.mark.parametrize("output", ["taken/object.glb", "taken.glb"])
def test_a_file_where_the_folder_should_be(say: Say, here: Path, output: str) -> None:
    (here / "taken").write_text("mine")
    assert_one_sentence(say("generate", "a red mushroom", "-o", output), "taken")
    assert (here / "taken").read_text() == "mine"
    assert everything_in(here) == {"taken"}


def test_a_folder_of_someone_elses_where_the_run_should_be(say: Say, here: Path) -> None:
    (here / "photos").mkdir()
    (here / "photos" / "cat.jpg").write_text("meow")
    assert_one_sentence(say("generate", "a red mushroom", "-o", "photos"), "photos", "--output")
    assert everything_in(here) == {"photos", "photos/cat.jpg"}


@pytest.mark.parametrize("content", [None, b"", b"solid nothing\nendsolid"])
def test_a_mesh_that_is_none(say: Say, here: Path, content: bytes | None) -> None:
    if content is not None:
        (here / "thing.stl").write_bytes(content)
    before = everything_in(here)
    assert_one_sentence(say("texture", "thing.stl", "a brown box"), "thing.stl")
    assert everything_in(here) == before


@pytest.mark.parametrize(
    ("options", "words"), [(["--keep-uv"], "without a texture"), (["--mask", "box.glb"], "--keep-uv")]
)
def test_a_mesh_without_a_texture_has_none_to_keep(say: Say, here: Path, options: list[str], words: str) -> None:
    trimesh.creation.box().export(here / "box.glb")
    assert_one_sentence(say("texture", "box.glb", "a brown box", *options), words)
    assert everything_in(here) == {"box.glb"}


def test_refining_nothing(say: Say, here: Path) -> None:
    assert_one_sentence(say("refine", "out/object", "a blue box"), "out/object")
    assert everything_in(here) == set()


def test_a_mesh_is_repainted_in_its_own_uv_map_and_then_refined(say: Say, here: Path) -> None:
    arrays = own_uv.ball()
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(own_uv.texture()))
    corners = arrays["faces"].reshape(-1)
    visual = trimesh.visual.TextureVisuals(uv=arrays["uv"], material=material)
    unshared = np.arange(len(corners)).reshape(-1, 3)
    trimesh.Trimesh(arrays["vertices"][corners], unshared, visual=visual, process=False).export(here / "ball.glb")
    mask = np.zeros((own_uv.HEIGHT, own_uv.WIDTH), np.uint8)
    mask[:, own_uv.WIDTH // 2 :] = 255
    Image.fromarray(mask).save(here / "mask.png")

    asked = ("ball.glb", "a red ball", "--keep-uv", "--mask", "mask.png", "--preset", "draft", "-o", "red.glb")
    said = say("texture", *asked)
    assert said.code == 0, said.err
    before, painted = load_uv_mesh(here / "ball.glb")
    made, texture = load_uv_mesh(here / "red.glb")
    np.testing.assert_allclose(made["uv"], before["uv"], atol=1e-6)
    np.testing.assert_allclose(made["vertices"][made["faces"]], before["vertices"][before["faces"]], atol=1e-6)
    changed = (np.asarray(texture.convert("RGB")) != np.asarray(painted)).any(axis=-1)
    assert not changed[:, : own_uv.WIDTH // 2 - 3].any()
    assert changed.any()

    assert_one_sentence(say("refine", "red.glb", "--stage", "geometry"), '"geometry"', "texture")
    assert_one_sentence(say("refine", "red.glb", "--first", "coarse"), '"coarse"', "texture")
    said = say("refine", "red.glb", "a blue ball", "--until", "reference", "--preset", "draft", "-o", "blue.glb")
    assert said.code == 0, said.err
    red, blue = (np.asarray(Image.open(here / name / "reference.png"), int) for name in ("red", "blue"))
    assert (blue - red)[..., 2].sum() > (blue - red)[..., 0].sum()


def test_resuming_nothing(say: Say, here: Path) -> None:
    assert_one_sentence(say("resume", "out/object"), "out/object")
    assert everything_in(here) == set()


def test_resuming_what_another_version_wrote(say: Say, here: Path) -> None:
    (here / "run").mkdir()
    (here / "run" / "config.json").write_text('{"output": "run.glb"}')
    assert_one_sentence(say("resume", "run"), "run/config.json")


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999", "many"])
def test_a_seed_that_is_none_is_refused(say: Say, here: Path, seed: str) -> None:
    said = say("generate", "a red mushroom", "--seed", seed)
    assert said.code == 2
    assert "--seed" in said.err
    assert "Traceback" not in said.err
    assert everything_in(here) == set()


def test_presets_are_listed_with_what_they_are_for(say: Say) -> None:
    said = say("presets")
    assert said.code == 0
    assert {line.split()[0] for line in said.out.splitlines()} >= {"draft", "embedded"}
    assert all(len(line.split()) > 2 for line in said.out.splitlines())


def test_the_doctor_finds_this_machine_well(say: Say) -> None:
    said = say("doctor")
    assert said.code == 0, said.err
    for word in ("torch", "Warp", "kernels work", "embedded priors", "free in"):
        assert word in said.err


def test_help_is_shown_where_nothing_is_asked(say: Say) -> None:
    said = say()
    for command in ("generate", "texture", "sculpt", "resume", "presets", "doctor"):
        assert command in said.out + said.err


def start(folder: RunFolder) -> subprocess.Popen[str]:
    """``dreamcraft3d resume`` as a process of its own."""
    command = [sys.executable, "-m", "dreamcraft3d.cli", "resume", str(folder.path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy())


def test_ctrl_c_stops_a_run_that_resume_then_finishes(tmp_path: Path, picture_file: Path, tiny_preset: Preset) -> None:
    values = tiny_preset.model_dump()
    values["coarse"]["density_steps"] = 40  # long enough to be interrupted in
    folder, copies = RunFolder.create(tmp_path / "egg.glb", {"image": picture_file, "mesh": None})
    preset = Preset.model_validate(values)
    asked = {"prompt": "a red egg", "seed": 0, "first": "coarse", "until": "coarse", "version": "0"}
    folder.write_request(Request(output="egg.glb", preset=preset, **copies, **asked))

    process = start(folder)
    deadline = time.monotonic() + 120
    while not folder.result("reference").exists():  # what comes next is the coarse stage
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "Stopped; nothing is lost." in err
    assert f"dreamcraft3d resume {folder.path}" in err.replace("\n", "")
    assert "Traceback" not in err
    assert not (tmp_path / "egg.glb").exists()
    done = json.loads((folder.path / "progress.json").read_text())["coarse"]["steps"]
    assert 0 < done < 46

    process = start(folder)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "is ready" in err
    assert "Loading" not in err
    assert (tmp_path / "egg.glb").is_file()
    assert json.loads((folder.path / "metrics.json").read_text())["stages"]["coarse"]["steps"] == 46


def test_a_mistake_ends_the_real_program_with_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dreamcraft3d.cli", "generate", "--image", "nowhere.png"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert_one_sentence(Said(ended.returncode, ended.stdout, ended.stderr), "nowhere.png")


def test_full_size_priors_are_asked_for_any_words(say: Say, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAMCRAFT3D_MODELS", str(here / "nowhere"))
    said = say("generate", "a zxqv of purple glorp", "--preset", "paper")
    assert said.code == 2
    assert "deepfloyd-if-xl is not on this machine" in said.err
