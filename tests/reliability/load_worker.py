"""A worker that computes nothing: it takes jobs and tells of them as the real one does, with previews of a real size.

``LOAD_JOB_SECONDS`` says how long a job takes. A preview's caption is the moment it was made, by a clock that all share.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import numpy as np
from fake_worker import work

from dreamcraft3d.service.line import Line
from dreamcraft3d.service.result import write_result
from dreamcraft3d.service.worker_messages import Done, Progress, Run, Stopped
from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.messages import Preview

STEP_SECONDS = 0.02
SIDE = 224
"""Of a grid of vertices: 50,176 of them, and twice as many faces."""
PREVIEW_SECONDS = 0.5
PROGRESS_SECONDS = 0.1


def do(run: Run, line: Line) -> None:
    vertices, faces = _grid()
    began = time.monotonic()
    steps = math.ceil(float(os.environ["LOAD_JOB_SECONDS"]) / STEP_SECONDS)
    told_at = shown_at = 0.0
    for step in range(1, steps + 1):
        time.sleep(STEP_SECONDS)
        now = time.monotonic()
        if line.wants_stop(run.job):
            line.tell(Stopped(run.job, now - began), {})
            return
        if now - told_at > PROGRESS_SECONDS or step == steps:
            told_at = now
            line.tell(Progress(run.job, "coarse", step, steps, now - began, (steps - step) * STEP_SECONDS, ""), {})
        if now - shown_at > PREVIEW_SECONDS:
            whole, seq = shown_at == 0.0, int(time.time() * 1000)
            shown_at, caption = now, repr(now)
            colours = np.full((len(vertices), 3), step / steps, np.float32)
            if whole:
                arrays = {"vertices": vertices, "faces": faces, "colours": colours}
                line.tell(Preview(run.job, seq, "coarse", "mesh", "grid", None, "object", caption), arrays)
            else:
                shown = Preview(run.job, seq, "coarse", "colours", "grid", "grid", "object", caption)
                line.tell(shown, {"colours": colours})
    few = faces[: len(faces) // 5]
    uv, file = np.zeros((3 * len(few), 2), np.float32), np.zeros(1 << 19, np.uint8)
    result = {"vertices": vertices, "faces": few, "uv": uv, "texture": file, "glb": file}
    write_result(Path(run.folder), {}, result)
    line.tell(Done(run.job, time.monotonic() - began), {})


def _grid() -> tuple[Array, Array]:
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1)
    halves = [corner, corner + 1, corner + SIDE, corner + 1, corner + SIDE + 1, corner + SIDE]
    return vertices, np.stack(halves, axis=-1).reshape(-1, 3).astype(np.int32)


if __name__ == "__main__":
    work(do)
