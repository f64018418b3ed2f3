"""Downloads of models from a hub on this machine, by the real command and the real library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock
from hub_server import COMMIT, Hub, Repository

from dreamcraft3d.errors import UserError
from dreamcraft3d.models import folder
from dreamcraft3d.models.catalogue import find_model

BLIP = "Salesforce/blip-image-captioning-base"
FILES = {"config.json": b"{}", "vocab.txt": b"a\nb\n", "model.safetensors": bytes(range(256)) * 4000}
LARGE = {"model.safetensors"}


class Said(NamedTuple):
    code: int
    out: str
    err: str


Models = Callable[..., Said]


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for models."""
    monkeypatch.setenv("DREAMCRAFT3D_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def models(hub: Hub, place: Path, tmp_path: Path) -> Models:
    """``dreamcraft3d models ...`` as a process that takes the hub's address for the real one's."""

    def run(*arguments: str, **variables: str) -> Said:
        own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "COLUMNS": "200", **variables}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        command = [sys.executable, "-m", "dreamcraft3d.cli", "models", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=inherited | own)
        return Said(ended.returncode, ended.stdout, ended.stderr)

    return run


def assert_sentence(said: Said, *words: str) -> None:
    assert said.code == 2, said
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err, said.err


def test_a_model_is_downloaded_and_locked_with_the_hubs_checksums(hub: Hub, models: Models, place: Path) -> None:
    hub.repositories[BLIP] = Repository({**FILES, "tf_model.h5": b"not needed"}, LARGE)
    said = models("download", "blip")
    assert said.code == 0, said.err
    assert (place / "blip/model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not (place / "blip/tf_model.h5").exists()
    lock = json.loads((place / "blip" / folder.LOCK).read_text())
    assert lock["commit"] == COMMIT
    # of the commit whose checksums were read, even if the repository moves on
    assert not [path for _, path, _ in hub.asked if path.endswith("/main") or "/main/" in path]
    assert lock["files"]["model.safetensors"]["sha256"] == folder.sha256_of(place / "blip/model.safetensors")
    assert lock["files"]["vocab.txt"] == {"size": 4, "sha256": None}


def test_a_cut_connection_goes_on_where_it_was_cut(hub: Hub, models: Models, place: Path) -> None:
    weights = bytes(range(256)) * 100_000
    hub.repositories[BLIP] = Repository({"model.safetensors": weights}, LARGE, cut_once={"model.safetensors"})
    assert models("download", "blip").code == 0
    first, second = hub.downloads("model.safetensors")
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= len(weights) // 2
    assert (place / "blip/model.safetensors").read_bytes() == weights


def test_a_server_that_sends_all_when_asked_for_the_rest_is_read_from_the_start(
    hub: Hub, models: Models, place: Path
) -> None:
    weights = bytes(range(256)) * 100_000
    hub.repositories[BLIP] = Repository(
        {"model.safetensors": weights}, LARGE, cut_once={"model.safetensors"}, whole_only=True
    )
    said = models("download", "blip")
    assert said.code == 0, said.err
    assert [bool(part) for part in hub.downloads("model.safetensors")] == [False, True]
    assert (place / "blip/model.safetensors").read_bytes() == weights
    assert not list((place / "blip").rglob("*.incomplete"))


def test_what_is_here_is_not_loaded_again(hub: Hub, models: Models, place: Path) -> None:
    hub.repositories[BLIP] = Repository(FILES, LARGE)
    models("download", "blip")
    (place / "blip/vocab.txt").unlink()
    assert models("download", "blip").code == 0
    assert len(hub.downloads("vocab.txt")) == 2
    assert len(hub.downloads("model.safetensors")) == 1


def test_a_spoilt_file_is_found_and_mended(hub: Hub, models: Models, place: Path) -> None:
    hub.repositories[BLIP] = Repository(FILES, LARGE)
    models("download", "blip")
    assert models("verify", "blip").code == 0
    (place / "blip/model.safetensors").write_bytes(FILES["model.safetensors"][::-1])
    said = models("verify", "blip")
    assert_sentence(said, "blip", "download blip")
    assert "wrong checksum blip/model.safetensors" in said.out
    assert models("download", "blip").code == 0
    assert models("verify").code == 0


def test_a_file_that_arrives_spoilt_is_not_kept(hub: Hub, models: Models, place: Path) -> None:
    hub.repositories[BLIP] = Repository(FILES, LARGE, spoilt={"model.safetensors"})
    assert_sentence(models("download", "blip"), "model.safetensors (wrong checksum)", BLIP)
    assert not (place / "blip/model.safetensors").exists()
    assert not (place / "blip" / folder.LOCK).exists()


def test_a_vanished_repository_gives_way_to_its_mirror(hub: Hub, models: Models, place: Path) -> None:
    first, second, _ = find_model("zero123-xl").repositories
    hub.repositories[second] = Repository({"model_index.json": b"{}", "unet/model.safetensors": b"weights"})
    said = models("download", "zero123-xl")
    assert said.code == 0, said.err
    assert f"{first} is gone, or private. Trying {second}." in said.err
    assert json.loads((place / "zero123-xl" / folder.LOCK).read_text())["repository"] == second


def test_a_vanished_model_is_a_sentence_that_names_every_repository(models: Models, place: Path) -> None:
    assert_sentence(models("download", "zero123-xl"), *find_model("zero123-xl").repositories, "gone", str(place))


def test_a_gate_is_told_with_its_address_and_no_mirror_is_tried(hub: Hub, models: Models) -> None:
    model = find_model("deepfloyd-if-l")
    hub.repositories[model.repositories[0]] = Repository({"model_index.json": b"{}"}, gated=True)
    said = models("download", model.name, "--accept-licence", model.licence)
    assert_sentence(said, "gated", f"{hub.endpoint}/{model.repositories[0]}", "HF_TOKEN")


def test_a_non_commercial_licence_must_be_accepted_first(hub: Hub, models: Models) -> None:
    said = models("download", "deepfloyd-if-xl")
    assert_sentence(said, "forbids commercial use", "--accept-licence deepfloyd-if-license")
    assert hub.asked == []


def test_no_network_is_a_sentence(models: Models, place: Path) -> None:
    assert_sentence(models("download", "blip", HF_ENDPOINT="http://127.0.0.1:9"), "connection", str(place / "blip"))
    assert_sentence(models("download", "blip", HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE", str(place / "blip"))


def test_a_hub_that_is_not_encrypted_is_refused(models: Models) -> None:
    for hub in ("http://hub.example", "hub.example"):
        assert_sentence(models("download", "blip", HF_ENDPOINT=hub), hub, "https")


def test_what_a_killed_download_left_is_cleared_away(hub: Hub, models: Models, place: Path) -> None:
    rest = place / "blip/.cache/huggingface/download/part.incomplete"
    rest.parent.mkdir(parents=True)
    rest.write_bytes(b"half a file")
    hub.repositories[BLIP] = Repository(FILES, LARGE)
    assert models("download", "blip").code == 0
    assert not rest.exists()


def test_a_model_is_downloaded_by_one_process_at_a_time(hub: Hub, models: Models, place: Path) -> None:
    hub.repositories[BLIP] = Repository(FILES, LARGE)
    (place / "blip").mkdir(parents=True)
    with FileLock(place / "blip/.lock"):
        assert_sentence(models("download", "blip"), "Another process is downloading blip")
    assert hub.asked == []


def test_a_full_disk_is_a_sentence_before_the_download(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from dreamcraft3d.models import download

    hub.repositories[BLIP] = Repository(FILES, LARGE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(download, "HfApi", lambda: download_api(hub))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match="no room for blip, which needs"):
        download.download(find_model("blip"), lambda done, total: None, lambda sentence: None)
    assert hub.downloads("model.safetensors") == []


def download_api(hub: Hub) -> object:
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint)


def test_a_folder_copied_by_hand_works_and_is_not_checked(models: Models, place: Path) -> None:
    with pytest.raises(UserError, match="not on this machine"):
        folder.installed_folder("blip")
    (place / "blip").mkdir(parents=True)
    (place / "blip/model.safetensors").write_bytes(b"weights")
    assert folder.installed_folder("blip") == place / "blip"
    said = models("verify")
    assert said.code == 0, said.err
    assert said.out.split() == ["not", "checked", "blip/model.safetensors"]


def test_an_unknown_model_is_a_sentence(models: Models) -> None:
    assert_sentence(models("download", "best"), '"best"', "zero123-xl")
