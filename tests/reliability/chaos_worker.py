"""The real worker, with a driver whose one stage counts instead of sculpting: what is left of it depends on every step.

Each step is a line in the file ``CHAOS_STEPS``. ``CHAOS_CLOCK`` is a file with seconds by which the clock is wrong.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

STEPS = 60
STEP_SECONDS = 0.05
CHECKPOINT_SECONDS = 1.0
PAYLOAD = 1 << 16
"""Numbers in a checkpoint, so that there is something to tear."""


def follow(value: int, index: int) -> int:
    """What a step makes of what the steps before left."""
    return (value * 48271 + index) % 0x7FFFFFFF


def left_by(seed: int) -> int:
    """What all steps leave, if each is taken once and in its turn."""
    value = seed
    for index in range(STEPS):
        value = follow(value, index)
    return value


def shift_clock() -> None:
    """Have this process's clock, but not its stopwatch, follow the file."""
    right, file = time.time, Path(os.environ["CHAOS_CLOCK"])

    def shifted() -> float:
        try:
            return right() + float(file.read_text())
        except (OSError, ValueError):  # just being written
            return right()

    time.time = shifted


def main() -> None:
    shift_clock()
    import torch
    from safetensors.torch import load_file, save_file

    from dreamcraft3d.pipeline import driver
    from dreamcraft3d.service import running, worker

    steps = os.open(os.environ["CHAOS_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    class Counting:
        name, steps, samples = "coarse", STEPS, None

        def __init__(self, job: str, seed: int) -> None:
            self.job, self.value = job, seed

        def step(self, index: int) -> dict[str, float]:
            time.sleep(STEP_SECONDS)
            self.value = follow(self.value, index)
            os.write(steps, f"{self.job} {os.getpid()} {index} {self.value}\n".encode())
            return {"value": float(self.value)}

        def state(self) -> dict[str, Any]:
            return {"value": self.value, "payload": torch.rand(PAYLOAD)}

        def restore(self, state: dict[str, Any]) -> None:
            self.value = state["value"]

        def render(self, cameras: Any, size: int) -> torch.Tensor:
            return torch.ones(len(cameras.azimuth), size, size, 3)

        def surface(self) -> None:
            return None

        def finish(self, path: Path) -> None:
            save_file({"value": torch.tensor(self.value)}, path)

    class CountingDriver(driver.Driver):
        def _run(self) -> dict[str, object]:
            if not self.folder.result("coarse").is_file():
                self._run_stage(Counting(self.folder.path.parent.name, self.request.seed), None)
            return {}

    def result(folder: Path, run: Any, metrics: Any) -> Any:
        value = load_file(run.result("coarse"))["value"]
        return {"value": float(value)}, {"picture": value.numpy().reshape(1).view("uint8")}

    driver.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS
    running.Driver, running._result = CountingDriver, result
    running.load_models = lambda: torch.device("cpu")
    worker.main()


if __name__ == "__main__":
    main()
