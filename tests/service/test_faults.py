"""What a client is told of a job that failed. Seen to fail when want of memory counts as the user's mistake, or a bug."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.service.running import _fault, answers


def out_of_means() -> UserError:
    error = UserError("The graphics card ran out of memory in the stage coarse.", "Free some memory.")
    error.__cause__ = torch.OutOfMemoryError("CUDA out of memory.")
    return error


@pytest.mark.parametrize("error", [out_of_means(), torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_job_that_memory_ended_can_be_gone_on_with(error: Exception, tmp_path: Path) -> None:
    fault = _fault(error, tmp_path)
    assert (fault.code, fault.action) == ("memory", "resume")
    assert "memory" in fault.sentence.lower()
    assert fault.hint


def test_a_users_mistake_is_for_the_user_to_mend(tmp_path: Path) -> None:
    fault = _fault(UserError("There is nothing to make.", "Give a prompt."), tmp_path)
    assert (fault.code, fault.action) == ("user", "edit")


def test_a_disk_that_is_full_as_the_run_is_made_is_not_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"x")
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("shutil.copyfile", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(UserError) as caught:
        RunFolder.create(tmp_path / "object.glb", {"image": picture})
    assert _fault(caught.value, tmp_path).code == "disk"


def test_a_folder_that_is_gone_is_no_reason_to_say_nothing(tmp_path: Path) -> None:
    assert _fault(RuntimeError("a bug"), tmp_path / "gone").code == "bug"


def test_a_card_that_gives_the_same_error_for_ever_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: torch.device) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("torch.cuda.synchronize", broken)
    assert answers(torch.device("cpu"))
    assert not answers(torch.device("cuda"))
