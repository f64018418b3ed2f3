"""Installing with real processes: a real environment, and a real pip that needs no network."""

from __future__ import annotations

import ensurepip
import shutil
import sys
from pathlib import Path

import pytest
from blender_addon.link import install, process
from blender_addon.link.backend_python import Candidate, Search, python_of
from blender_addon.link.install import Installation, InstallError, Step, backend_source, check_room, explain, plan
from blender_addon.link.install_torch import index_url, variant
from launcher import CHECKOUT, wait_until
from toy_backend import toy_wheel


def finish(installation: Installation) -> None:
    wait_until(installation.poll, 120, lambda: installation.said)


def test_an_installed_environment_is_found_to_have_the_backend(tmp_path: Path) -> None:
    target = tmp_path / "backend"
    steps = [step for step in plan(Path(sys.executable), target, toy_wheel(tmp_path)) if "PyTorch" not in step.label]
    installation = Installation(steps, tmp_path / "install.log")
    finish(installation)
    assert installation.sentence == ""
    assert installation.factor == 1
    search = Search([Candidate(python_of(target), "the test")], tmp_path / "search.log")
    wait_until(search.poll)
    assert search.found == python_of(target)
    assert search.version == "9.9"


def test_a_python_without_a_pip_to_give_is_given_the_one_beside_the_wheel(tmp_path: Path) -> None:
    wheel, target = toy_wheel(tmp_path), tmp_path / "backend"
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    shutil.copy(bundled, tmp_path)
    steps = [step for step in plan(Path(sys.executable), target, wheel) if "PyTorch" not in step.label]
    assert "--without-pip" in steps[0].command
    installation = Installation(steps, tmp_path / "install.log")
    finish(installation)
    assert installation.sentence == ""
    search = Search([Candidate(python_of(target), "the test")], tmp_path / "search.log")
    wait_until(search.poll)
    assert search.version == "9.9"


def test_the_plan_makes_an_environment_then_torch_then_the_backend_and_tries_it(tmp_path: Path) -> None:
    steps = plan(Path("/blender/python"), tmp_path / "backend", tmp_path / "b.whl")
    assert steps[0].command[:3] == ("/blender/python", "-m", "venv")
    assert steps[1].command[-1].endswith("install_torch.py")
    assert steps[2].command[-1] == str(tmp_path / "b.whl")
    assert "presets" in steps[3].command


def test_a_failed_step_ends_it_with_a_sentence_and_the_rest_is_not_run(tmp_path: Path) -> None:
    steps = [
        Step(
            "One",
            (sys.executable, "-c", "import sys; print('OSError: [Errno 28] No space left on device'); sys.exit(1)"),
        ),
        Step("Two", (sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")),
    ]
    installation = Installation(steps, tmp_path / "install.log")
    finish(installation)
    assert installation.sentence == "The disk is full. Make room, and install again."
    assert not (tmp_path / "ran").exists()


def test_cancelling_ends_the_step_at_once(tmp_path: Path) -> None:
    steps = [Step("Long", (sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"))]
    installation = Installation(steps, tmp_path / "install.log")
    wait_until(lambda: not installation.poll() and installation.said == "begun")
    installation.cancel()
    assert installation.over
    assert "stopped" in installation.sentence
    assert installation._process is not None
    assert installation._process.wait(timeout=10) != 0


def test_a_python_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    installation = Installation([Step("One", ("/nowhere/python",))], tmp_path / "install.log")
    finish(installation)
    assert "/nowhere/python cannot be started" in installation.sentence


def test_a_full_disk_is_noticed_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    with pytest.raises(InstallError, match=r"0\.9 GB left"):
        check_room(tmp_path, tmp_path, online=True)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("The virtual environment was not created successfully because ensurepip is not\navailable.", "by hand"),
        ("NewConnectionError('...: Failed to establish a new connection')", "network"),
        ("ERROR: No matching distribution found for warp-lang", "no build"),
        ("Segmentation fault", "log"),
    ],
)
def test_what_went_wrong_is_said_plainly(said: str, sentence: str) -> None:
    assert sentence in explain(said.splitlines())


def test_the_backend_comes_from_the_wheel_inside_the_add_on_or_the_checkout(tmp_path: Path) -> None:
    assert backend_source(tmp_path) is None
    assert backend_source(CHECKOUT / "blender_addon") == CHECKOUT
    wheel = toy_wheel(tmp_path / "backend")
    assert backend_source(tmp_path) == wheel


@pytest.mark.parametrize(
    ("platform", "driver", "index"),
    [
        ("linux", None, "cpu"),
        ("linux", 470, "cpu"),
        ("win32", 560, "cu126"),
        ("linux", 581, "cu130"),
        ("darwin", None, ""),
    ],
)
def test_torch_is_built_for_the_card_that_is_here(platform: str, driver: int | None, index: str) -> None:
    assert variant(platform, driver) == index


def test_torch_comes_from_the_index_that_is_named(tmp_path: Path) -> None:
    mirror = "https://mirror.example/simple"
    step = next(s for s in plan(Path("python"), tmp_path, tmp_path / "b.whl", mirror) if "PyTorch" in s.label)
    assert step.command[-1] == mirror
    assert index_url(mirror) == mirror
    assert "pytorch.org" in index_url("") or sys.platform == "darwin"


def test_a_log_that_has_grown_too_long_is_emptied_and_read_from_its_new_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOG_BYTES", 100)
    log = tmp_path / "install.log"
    log.write_text("old\n" * 100)
    installation = Installation([Step("One", (sys.executable, "-c", "print('new')"))], log)
    finish(installation)
    assert installation.said == "new"
    assert log.read_text() == "new\n"
