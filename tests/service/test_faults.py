"""What a client is told of a job that failed. Seen to fail when want of memory counts as the user's mistake, or a bug."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.running import _fault


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
