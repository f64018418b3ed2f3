"""The add-on's page in the preferences: drawn in every state, and its buttons against a backend with real sockets."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import bpy
import pytest
from fake_layout import FakeLayout, draw
from launcher import backend_python, end_backend, wait_until
from scripted_backend import ScriptedBackend

from dreamcraft3d_protocol.connection import Connection, keys_of
from dreamcraft3d_protocol.messages import CancelDownload, Download, Fault, Message, ModelInfo, ModelList

Part = Callable[[str], ModuleType]
FAULT = Fault("user", "The hub is gone.", "Try again.", "")
MODEL = ModelInfo("zero123-xl", "The 3D prior", "view", 11.5, "mit", False, False, "https://x/y", "absent")
BOUND = ModelInfo(
    "deepfloyd-if-l", "The 2D prior", "flat", 11.4, "if", True, True, "https://x/z", "absent", 0, 0, FAULT
)
MODELS = ModelList(
    (
        MODEL,
        BOUND,
        ModelInfo("blip", "Captions", "caption", 1.0, "bsd-3", False, False, "", "present"),
        ModelInfo("sd", "Texture", "texture", 5.0, "rail", False, False, "", "downloading", 10**9, 5 * 10**9),
        ModelInfo("xl", "Words", "text-to-image", 7.0, "rail", False, False, "", "waiting"),
    ),
    "/models",
    11.45,
)


def page(part: Part) -> FakeLayout:
    layout = FakeLayout()
    part("panels.page").draw_page(bpy.context, layout, part("props.preferences").preferences())
    return layout


@pytest.fixture
def server(blender: Any, tmp_path: Path) -> Iterator[ScriptedBackend]:
    """A backend elsewhere, which the preferences name."""
    backend = ScriptedBackend(tmp_path / "elsewhere")
    published = Connection.read(backend.data)
    assert published is not None
    blender.where, blender.endpoint, blender.server_key = "REMOTE", published.endpoint, published.server_public_key
    yield backend
    backend.close()


def until(part: Part, server: ScriptedBackend, happened: Callable[[], bool]) -> None:
    pump = part("pump")
    wait_until(
        lambda: server.serve() is not None and pump.pump(0.01) > 0 and happened(),
        20,
        lambda: pump.studio().session.status,
    )


def let_in(part: Part, server: ScriptedBackend) -> Any:
    """The studio, connected to the server."""
    studio = part("pump").studio()
    keys_of(server.data).enrol(studio.session.public_key.encode(), "studio")
    server.gate.configure_curve(domain="*", location=str(keys_of(server.data).path / "clients"))
    until(part, server, lambda: studio.session.connected)
    return studio


@pytest.mark.parametrize("where", ["LOCAL", "REMOTE"])
def test_the_page_draws_in_every_state(
    where: str, blender: Any, part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, session = part("core.status"), part("core.session").Session
    blender.where = where
    studio = part("pump").studio()
    studio.models = MODELS
    studio.session.settings.log.write_text("It has something to say.\n")
    studio.session.doctor = part("link.doctor").Doctor(tmp_path / "nobody", tmp_path / "doctor.log")
    studio.session.doctor.findings = [part("link.doctor").Finding(False, "No room; make some.")]
    studio.session.environment.search.found = Path(sys.executable)
    host = "studio" if where == "REMOTE" else ""
    shown = status.Status("ready", "A Title", "A sentence of some length.", factor=0.5, device="Processor", host=host)
    mends = get_args(status.Mend)
    for phase, mend, connected in itertools.product(get_args(status.Phase), mends, (True, False)):
        again = "reconnect" if mend == "open_preferences" else ""
        monkeypatch.setattr(session, "status", dataclasses.replace(shown, phase=phase, mend=mend, again=again))
        monkeypatch.setattr(session, "connected", connected)
        drawn = page(part)
        said = " ".join(drawn.said)
        assert "A Title (Processor)" in said
        assert "dreamcraft3d.open_preferences" not in drawn.buttons
        assert {f"dreamcraft3d.{one}" for one in (mend, again) if one not in ("", "open_preferences")} <= set(
            drawn.buttons
        )
        assert ("studio" in said) == (where == "REMOTE")
        assert ("It has something to say." in said) == (where == "LOCAL")
        assert ("No room; make some." in said) == (where == "LOCAL")
        assert ("The 3D prior" in said) == connected
    studio.session.settings.log.unlink()


def test_a_model_is_shown_with_what_it_asks_for_and_the_button_that_fits_its_state(blender: Any, part: Part) -> None:
    layout = FakeLayout()
    part("panels.models").draw_models(bpy.context, layout, MODELS, True)
    said = " ".join(layout.said)
    for words in (
        "forbids commercial use",
        "11.4 GB, if",
        "for view",
        "1.0 GB of 5.0 GB",
        "The hub is gone.",
        "11 GB are free",
    ):
        assert words in said
    assert layout.buttons.count("dreamcraft3d.download_model") == 2
    assert layout.buttons.count("dreamcraft3d.cancel_download") == 2


def test_a_licence_is_read_and_accepted_before_the_download(server: ScriptedBackend, part: Part) -> None:
    studio = let_in(part, server)
    until(part, server, lambda: studio.models is not None)
    server.say(MODELS)
    until(part, server, lambda: studio.models == MODELS)
    dialog = draw(part("operators.models").DREAMCRAFT3D_OT_download_model, model=BOUND.name, accepted=False)
    assert "forbids commercial use" in " ".join(dialog.said)
    assert "wm.url_open" in dialog.buttons
    with pytest.raises(RuntimeError, match="must be accepted first"):
        bpy.ops.dreamcraft3d.download_model(model=BOUND.name)
    with pytest.raises(RuntimeError, match="no such model"):
        bpy.ops.dreamcraft3d.download_model(model="x")
    bpy.ops.dreamcraft3d.download_model(model=BOUND.name, accepted=True)
    bpy.ops.dreamcraft3d.download_model(model=MODEL.name)
    bpy.ops.dreamcraft3d.cancel_download(model=MODEL.name)
    wanted: list[Message] = [Download(BOUND.name, True), Download(MODEL.name, True), CancelDownload(MODEL.name)]
    until(part, server, lambda: server.heard[-3:] == wanted)


def test_nothing_is_downloaded_here_while_blender_may_not_go_online(blender: Any, part: Part) -> None:
    part("pump").studio().models = MODELS
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.dreamcraft3d.download_model(model=MODEL.name)


def test_a_backend_elsewhere_is_attached_to_from_a_key_file_with_a_key_of_the_add_ons_own(
    server: ScriptedBackend, blender: Any, part: Part, tmp_path: Path
) -> None:
    file = tmp_path / "studio.json"
    file.write_text(json.dumps({"endpoint": blender.endpoint, "server_public_key": blender.server_key}))
    blender.endpoint = blender.server_key = ""
    until(part, server, lambda: "no address yet" in part("pump").studio().session.status.sentence)
    bpy.ops.dreamcraft3d.read_key(filepath=str(file))
    until(part, server, lambda: part("pump").studio().session.status.phase == "refused")
    refused = page(part)
    key = part("pump").studio().session.public_key
    assert key in refused.said
    assert {"dreamcraft3d.copy_key", "dreamcraft3d.reconnect"} <= set(refused.buttons)
    keys_of(server.data).enrol(key.encode(), "studio")
    server.gate.configure_curve(domain="*", location=str(keys_of(server.data).path / "clients"))
    bpy.ops.dreamcraft3d.reconnect()
    until(part, server, lambda: part("pump").studio().session.connected)
    assert "Remote: 127.0.0.1" in page(part).said
    file.write_text("nothing")
    with pytest.raises(RuntimeError, match="There is no public key"):
        bpy.ops.dreamcraft3d.read_key(filepath=str(file))


def test_no_secret_is_in_the_preferences_or_in_a_file(server: ScriptedBackend, part: Part, tmp_path: Path) -> None:
    studio = let_in(part, server)
    secret = part("core.remote").own_pair(studio.session.settings.keys).secret
    bpy.ops.wm.save_userpref()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"), compress=False)
    preferences = Path(bpy.utils.resource_path("USER")) / "config" / "userpref.blend"
    for saved in (preferences, tmp_path / "file.blend"):
        assert secret not in saved.read_bytes()
    assert studio.session.settings.remote.server_key.encode() in preferences.read_bytes()  # it is not compressed


def test_the_real_backend_is_examined_started_and_stopped_by_the_pages_buttons(
    blender: Any, part: Part, tmp_path: Path
) -> None:
    blender.python = str(backend_python(tmp_path))
    studio, pump = part("pump").studio(), part("pump")

    def reach(*phases: str) -> None:
        wait_until(
            lambda: pump.pump(0.01) > 0 and studio.session.status.phase in phases, 90, lambda: studio.session.status
        )

    reach("off")
    bpy.ops.dreamcraft3d.examine()
    bpy.ops.dreamcraft3d.start_backend()
    reach("ready")
    assert {"dreamcraft3d.stop_backend", "dreamcraft3d.restart_backend"} <= set(page(part).buttons)
    wait_until(lambda: pump.pump(0.01) > 0 and studio.models is not None, 10)
    assert "named above" in " ".join(page(part).said)
    wait_until(lambda: pump.pump(0.01) > 0 and studio.session.doctor.over, 90)
    assert any("embedded priors" in text for text in page(part).said)
    bpy.ops.dreamcraft3d.stop_backend()
    reach("off")
    assert Connection.read(tmp_path / "data") is None
    with pytest.raises(RuntimeError, match="nothing to update"):
        bpy.ops.dreamcraft3d.update_backend()
    with pytest.raises(RuntimeError, match="no environment of its own"):
        bpy.ops.dreamcraft3d.remove_environment()
    end_backend(tmp_path / "data")
