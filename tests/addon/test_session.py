"""The backend's life as the add-on sees it, with the real program."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blender_addon.core import environment as environment_module
from blender_addon.core import session as module
from blender_addon.core.remote import Remote
from blender_addon.core.session import Session
from blender_addon.core.settings import Settings
from blender_addon.core.studio import Studio
from blender_addon.link.backend_python import python_of
from blender_addon.link.install import InstallError, Step
from launcher import alive, backend_python, end_backend, wait_until
from scripted_backend import ScriptedBackend
from toy_backend import toy_wheel

from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.messages import Refused

JOB = str(uuid.UUID(int=1))
Make = Callable[[Settings], Session]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Session] = []

    def session(settings: Settings) -> Session:
        made.append(Session(settings))
        return made[-1]

    yield session
    for one in made:
        one.close()
        end_backend(one.settings.data)


@pytest.fixture
def real(settings: Settings, tmp_path: Path) -> Settings:
    """An artist's machine with the backend in a Python that the preferences name."""
    return dataclasses.replace(settings, python=str(backend_python(tmp_path)))


def reach(session: Session, *phases: str, seconds: float = 60) -> None:
    def there() -> bool:
        session.tick(0.01)
        return session.status.phase in phases

    wait_until(there, seconds, lambda: session.status)


def test_without_a_backend_it_offers_to_install_one(settings: Settings, make: Make) -> None:
    session = make(settings)
    reach(session, "missing")
    assert session.status.mend == "install_backend"


def test_a_named_python_without_the_backend_is_said(settings: Settings, make: Make) -> None:
    session = make(dataclasses.replace(settings, python="/nowhere/python"))
    reach(session, "missing")
    assert "There is no Python at /nowhere/python, which the preferences names" in session.status.sentence
    empty = make(dataclasses.replace(settings, python="/bin/false"))
    reach(empty, "missing")
    assert "lacks the backend" in empty.status.sentence


def test_nothing_is_started_before_there_is_something_to_do(real: Settings, make: Make) -> None:
    session = make(real)
    reach(session, "off")
    assert session.status.mend == "start_backend"
    assert Connection.read(real.data) is None


def test_it_starts_connects_and_starts_again_what_was_killed(
    real: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.5)
    monkeypatch.setenv("PYTHONHOME", "/blender/python")  # Blender's own; it must not reach the backend
    session = make(real)
    session.want()
    reach(session, "starting")
    reach(session, "ready")
    assert "serves" in real.log.read_text()
    first = Connection.read(real.data)
    assert first is not None
    os.kill(first.pid, 9)
    reach(session, "lost", "starting")
    reach(session, "ready")
    second = Connection.read(real.data)
    assert second is not None
    assert second.pid != first.pid


def test_a_second_session_attaches_and_the_backend_outlives_the_first(real: Settings, make: Make) -> None:
    first = make(real)
    first.start()
    reach(first, "ready")
    second = make(real)
    second.want()
    reach(second, "ready")
    published = Connection.read(real.data)
    assert published is not None
    first.close()
    assert alive(published.pid)
    assert second.connected


def test_restart_ends_the_backend_and_starts_another(real: Settings, make: Make) -> None:
    session = make(real)
    session.start()
    reach(session, "ready")
    before = Connection.read(real.data)
    assert before is not None
    session.restart()
    wait_until(lambda: session.tick(0.01) is not None and not alive(before.pid))
    reach(session, "ready")


def test_stop_ends_the_backend_and_only_an_order_starts_it_again(
    real: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.1)
    studio = Studio(make(real))
    session = studio.session
    session.start()
    reach(session, "ready")
    published = Connection.read(real.data)
    assert published is not None
    session.stop()
    reach(session, "stopping")
    reach(session, "off")
    wait_until(lambda: not alive(published.pid))
    studio.watch([JOB])  # as undo and opening a file do
    for _ in range(100):
        session.tick(0.005)
    assert session.status.phase == "off"
    studio.resume(JOB)
    reach(session, "ready")


def test_a_backend_that_is_only_starting_can_be_stopped(real: Settings, make: Make) -> None:
    session = make(real)
    session.start()
    reach(session, "starting")
    process = session._process
    assert process is not None
    session.stop()
    reach(session, "off")
    assert process.poll() is not None
    assert Connection.read(real.data) is None


def test_the_environment_is_not_removed_under_a_backend_that_has_not_left(
    settings: Settings, make: Make, tmp_path: Path
) -> None:
    left, slow = tmp_path / "left", tmp_path / "slow"
    slow.write_text(
        '#!/bin/sh\n[ "$2" = -c ] && echo "dreamcraft3d is here: 9" && exit\n'
        f"trap 'sleep 1; touch {left}; exit' TERM; touch {tmp_path}/serves; sleep 60 & wait\n"
    )
    slow.chmod(0o755)
    settings.environment.mkdir(parents=True)
    session = make(dataclasses.replace(settings, python=str(slow)))
    session.start()
    reach(session, "starting")
    wait_until((tmp_path / "serves").exists)
    session.remove(Path(sys.executable))
    wait_until(lambda: session.tick(0.01) is not None and not settings.environment.exists())
    assert left.exists()


def test_a_backend_that_does_not_start_is_said_after_three_tries(
    settings: Settings, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    broken = tmp_path / "broken"
    broken.write_text(
        '#!/bin/sh\n[ "$2" = -c ] && echo "dreamcraft3d is here: 9" && exit\necho "The moon is full."; exit 2\n'
    )
    broken.chmod(0o755)
    session = make(dataclasses.replace(settings, python=str(broken)))
    session.start()
    reach(session, "failed")
    assert session.status.sentence == "The backend does not start. The moon is full."
    assert session.status.mend == "start_backend"
    session.start()
    assert session.status.phase != "failed"


def test_a_backend_of_another_version_is_refused_with_its_reason(
    settings: Settings, make: Make, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make(settings)
    wait_until(lambda: session.tick(0.01) is not None and bool(backend.socket.poll(0)))
    who, *_ = backend.socket.recv_multipart()
    said = "The client speaks version 3 of the protocol, the backend 2."
    backend.tell(who, Refused("version", said, "Update the backend."))
    reach(session, "refused")
    assert "The backend is older than this add-on" in session.status.sentence
    assert session.status.mend == "install_backend"
    environment = session.environment
    reach(session, "refused")
    wait_until(lambda: session.tick(0.01) is not None and environment.search.over)
    environment.search.found, environment.search.version = python_of(settings.environment), "0.0.9"
    monkeypatch.setattr(environment, "_brought", (0, 1, 0))
    assert session.status.mend == "update_backend"
    environment.search.found = Path(sys.executable)
    assert session.status.mend == "open_preferences"
    assert session.status.again == "restart_backend"
    assert "The Python that was named has an older backend" in session.status.sentence


def test_the_older_add_on_is_sent_for_a_newer_one(settings: Settings, make: Make, backend: ScriptedBackend) -> None:
    session = make(settings)
    wait_until(lambda: session.tick(0.01) is not None and bool(backend.socket.poll(0)))
    who, *_ = backend.socket.recv_multipart()
    backend.tell(who, Refused("client_version", "The client speaks version 1.", "Update the client."))
    reach(session, "refused")
    assert session.status.mend == "open_extensions"
    assert "This add-on is older than the backend" in session.status.sentence


def test_a_process_that_only_has_the_number_of_a_backend_long_gone_is_left_alone(real: Settings, make: Make) -> None:
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    keys_of(real.data).server_pair()
    Connection("tcp://127.0.0.1:9", "x" * 40, innocent.pid, 1, 0, "0.1.0").publish(real.data)
    session = make(real)
    session.restart()
    reach(session, "ready")
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


def test_installing_without_the_network_or_without_a_backend_is_a_sentence(settings: Settings, make: Make) -> None:
    session = make(settings)
    with pytest.raises(InstallError, match=r"build_addon\.py"):
        session.install(Path("python"), online=True)
    (settings.addon / "backend").mkdir(parents=True)
    (settings.addon / "backend" / "dreamcraft3d-1-py3-none-any.whl").touch()
    with pytest.raises(InstallError, match="Allow Online Access"):
        session.install(Path("python"), online=False)
    assert session.status.phase != "installing"


def test_an_installed_backend_is_found_and_the_session_goes_on_from_there(
    settings: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but PyTorch, which would be downloaded."""
    plan = environment_module.plan
    monkeypatch.setattr(
        environment_module, "plan", lambda *given: [step for step in plan(*given) if "PyTorch" not in step.label]
    )
    toy_wheel(settings.addon / "backend")
    session = make(settings)
    reach(session, "missing")
    session.install(Path(sys.executable), online=True)
    reach(session, "installing")
    assert session.status.mend == "cancel_install"
    reach(session, "off", "failed", seconds=180)
    assert session.status.phase == "off", session.status
    environment = session.environment
    assert (environment.own, environment.search.version, environment.update) == (True, "9.9", "")
    wait_until(lambda: environment.size is not None)
    assert environment.size > 1 << 20  # type: ignore[operator]

    toy_wheel(settings.addon / "backend", "9.10")  # a newer zip
    newer = make(settings)
    reach(newer, "off")
    assert newer.environment.update == "9.10"
    newer.update(online=False)
    reach(newer, "installing")
    reach(newer, "off", seconds=60)
    assert (newer.environment.search.version, newer.environment.update) == ("9.10", "")
    with pytest.raises(InstallError, match="nothing to update"):
        newer.update(online=False)

    newer.remove(Path(sys.executable))
    reach(newer, "installing")
    assert (newer.status.title, newer.status.mend) == ("Removing", "")
    reach(newer, "missing", seconds=60)
    assert not settings.environment.exists()
    with pytest.raises(InstallError, match="no environment"):
        newer.remove(Path(sys.executable))


def test_an_installation_goes_on_whatever_the_preferences_say_meanwhile(
    settings: Settings, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Step("Downloading", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(environment_module, "plan", lambda *given: [waits])
    toy_wheel(settings.addon / "backend")
    session = make(settings)
    session.install(Path(sys.executable), online=True)
    reach(session, "installing")
    for changes in (
        {"autostart": False, "torch_index": "https://packages"},
        {"remote": Remote("tcp://127.0.0.1:9", "")},
        {"remote": None},
    ):
        session = session.under(dataclasses.replace(session.settings, **changes))  # type: ignore[arg-type]
        session.tick()
    assert session.status.phase == "installing"
    session.close()


def test_an_installation_that_was_stopped_is_told_and_may_be_begun_again(settings: Settings, make: Make) -> None:
    toy_wheel(settings.addon / "backend")
    session = make(settings)
    reach(session, "missing")
    session.install(Path(sys.executable), online=True)
    with pytest.raises(InstallError, match="already"):
        session.install(Path(sys.executable), online=True)
    session.cancel_install()
    reach(session, "failed")
    assert "stopped" in session.status.sentence
    assert session.status.mend == "install_backend"
    session.install(Path(sys.executable), online=True)
    reach(session, "installing")
