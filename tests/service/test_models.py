"""Full-size models through the service: a client lists them and has them downloaded, from a hub on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from serving import Backend, read_until
from unit.hub_server import Hub, Repository

from dreamcraft3d_protocol.client import Client
from dreamcraft3d_protocol.messages import CancelDownload, Download, Error, Message, ModelInfo, ModelList, Models

BLIP = "Salesforce/blip-image-captioning-base"
WEIGHTS = bytes(range(256)) * 4000
SLOW_BYTES = 1 << 29
"""More than a hub on this machine sends within the tests' patience for a cancel."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for models, and the hub of this machine in the place of the real one, for the backend."""
    for name, value in (("DREAMCRAFT3D_MODELS", "models"), ("HF_HOME", "home")):
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "models"


@pytest.fixture
def client(place: Path, tmp_path: Path) -> Iterator[Client]:
    backend = Backend(tmp_path / "data")
    yield backend.client()
    backend.close()


def model(message: Message, name: str = "blip") -> ModelInfo:
    assert isinstance(message, ModelList)
    return next(known for known in message.models if known.name == name)


def is_(wanted: Callable[[ModelInfo], object], name: str = "blip") -> Callable[[Message], bool]:
    return lambda message: isinstance(message, ModelList) and bool(wanted(model(message, name)))


def test_the_list_says_of_each_model_what_it_is_for_and_whether_it_is_here(client: Client, place: Path) -> None:
    client.send(Models())
    listed, _ = read_until(client, lambda m: isinstance(m, ModelList))[-1]
    assert isinstance(listed, ModelList)
    assert listed.folder == str(place)
    assert listed.free_gigabytes > 0
    blip, deepfloyd = model(listed), model(listed, "deepfloyd-if-xl")
    assert (blip.state, blip.use, blip.non_commercial) == ("absent", "caption", False)
    assert blip.page.endswith(BLIP)
    assert (deepfloyd.non_commercial, deepfloyd.gated, deepfloyd.licence) == (True, True, "deepfloyd-if-license")


def test_a_download_is_told_as_it_goes_and_ends_with_the_model_here(client: Client, hub: Hub, place: Path) -> None:
    hub.repositories[BLIP] = Repository({"config.json": b"{}", "model.safetensors": WEIGHTS}, {"model.safetensors"})
    client.send(Models())
    client.send(Download("blip"))
    letters = read_until(client, is_(lambda blip: blip.state == "present"))
    told = [model(message) for message, _ in letters if isinstance(message, ModelList)]
    assert any(blip.state == "downloading" for blip in told)
    assert (place / "blip" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_download_that_fails_says_why_and_may_be_tried_again(client: Client, hub: Hub) -> None:
    client.send(Models())
    client.send(Download("blip"))
    failed, _ = read_until(client, is_(lambda blip: blip.fault is not None))[-1]
    fault = model(failed).fault
    assert fault is not None
    assert "could not be had" in fault.sentence
    assert "Try again" in fault.hint
    hub.repositories[BLIP] = Repository({"model.safetensors": WEIGHTS}, {"model.safetensors"})
    client.send(Download("blip"))
    mended, _ = read_until(client, is_(lambda blip: blip.state == "present"))[-1]
    assert model(mended).fault is None


def test_a_download_can_be_left_off_and_the_next_has_its_turn(client: Client, hub: Hub, place: Path) -> None:
    hub.repositories[BLIP] = Repository({"model.safetensors": bytes(SLOW_BYTES)})
    client.send(Models())
    client.send(Download("blip"))
    client.send(Download("zero123-xl"))
    read_until(client, is_(lambda one: one.state == "waiting", "zero123-xl"))
    read_until(client, is_(lambda blip: blip.total > 0))
    client.send(CancelDownload("blip"))
    letters = read_until(
        client, is_(lambda one: one.fault is not None, "zero123-xl")
    )  # its repositories are empty here
    assert model(letters[-1][0]).state == "absent"
    assert model(letters[-1][0]).fault is None
    assert not (place / "blip" / "model.safetensors").exists()
    FileLock(place / "blip" / ".lock").acquire(timeout=0)  # its process is gone


def test_a_licence_that_forbids_commercial_use_must_be_accepted(client: Client, hub: Hub) -> None:
    client.send(Download("deepfloyd-if-l"))
    error, _ = read_until(client, lambda m: isinstance(m, Error))[-1]
    assert isinstance(error, Error)
    assert "forbids commercial use" in error.sentence
    assert hub.asked == []
    client.send(Models())
    client.send(Download("deepfloyd-if-l", accepted=True))
    read_until(client, is_(lambda one: one.fault is not None, "deepfloyd-if-l"))
    assert hub.asked != []


def test_a_model_that_is_not_in_the_catalogue_cannot_be_had(client: Client) -> None:
    client.send(Download("../../keys"))
    error, _ = read_until(client, lambda m: isinstance(m, Error))[-1]
    assert isinstance(error, Error)
    assert "There is no model" in error.sentence
