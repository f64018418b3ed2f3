"""What build_addon.py writes, and what it says where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from launcher import CHECKOUT


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip: ``ADDON_ZIP``, or else built now."""
    given = os.environ.get("ADDON_ZIP")
    if given:
        return Path(given)
    import build_addon

    try:
        return build_addon.build(tmp_path_factory.mktemp("dist"))[0]
    except build_addon.BuildError as error:
        pytest.skip(str(error))


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return file.namelist()


def test_the_manifest_names_every_wheel_in_the_zip_and_no_other(archive: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        manifest = tomllib.loads(file.read("blender_manifest.toml").decode())
    inside = sorted(f"./{name}" for name in names(archive) if name.startswith("wheels/"))
    assert sorted(manifest["wheels"]) == inside
    kinds = {Path(name).name.partition("-")[0] for name in inside}
    assert kinds == {"pyzmq", "msgpack", "platformdirs", "dreamcraft3d_protocol"}
    assert manifest["version"] == tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]


def test_each_of_blenders_pythons_finds_its_wheels(archive: Path) -> None:
    binary = [name for name in names(archive) if "msgpack" in name or "pyzmq" in name]
    assert any("cp311-cp311" in name for name in binary if "msgpack" in name)
    assert any("cp313-cp313" in name for name in binary if "msgpack" in name)
    assert any("cp314-cp314" in name for name in binary if "msgpack" in name)
    assert any("cp311-cp311" in name for name in binary if "pyzmq" in name)
    assert any("abi3" in name or "cp313" in name for name in binary if "pyzmq" in name)


def test_the_zip_has_its_licence_and_the_backend_with_its_weights(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        assert "GNU GENERAL PUBLIC LICENSE" in file.read("LICENSE").decode()
        wheel = next(name for name in file.namelist() if name.startswith("backend/"))
        backend = zipfile.ZipFile(file.extract(wheel, tmp_path)).namelist()
    assert "dreamcraft3d/service/supervisor.py" in backend
    assert "dreamcraft3d_protocol/client.py" in backend
    assert any(name.endswith("unet/diffusion_pytorch_model.safetensors") for name in backend)
    assert any("LICENSE" in name for name in backend)


def test_nothing_of_a_checkout_is_in_the_zip_that_does_not_belong_there(archive: Path) -> None:
    assert not [name for name in names(archive) if "__pycache__" in name or "egg-info" in name or "tests" in name]


def test_without_a_network_it_says_so_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "build_addon.py"), "--output", str(tmp_path)]
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline)
    assert done.returncode == 2
    assert "could not be downloaded" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.glob("*.zip")) == []
