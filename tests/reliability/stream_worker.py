"""A worker that computes nothing: it streams previews of every kind, each of which says in its values which one it is.

In the folder ``STREAM_FOLDER``, a file ``hold`` makes it stop streaming and tell in ``newest.json`` what it showed last;
a file ``finish`` makes it come to its result.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from fake_worker import work

from dreamcraft3d.service.line import Line
from dreamcraft3d.service.result import write_result
from dreamcraft3d.service.worker_messages import Done, Progress, Run, Stopped
from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.messages import Form, Preview, Subject

STEP_SECONDS = 0.01
KINDS: tuple[tuple[Form, Subject], ...] = (
    ("mesh", "object"),
    ("picture", "reference"),
    ("positions", "object"),
    ("colours", "object"),
    ("picture", "samples"),
    ("texture", "object"),
    ("colours", "object"),
    ("positions", "object"),
)
FACES = np.array([[0, 1, 2]], np.int32)


class Stream:
    """What is shown of a job; each mesh has faces of its own, so that a change laid on another would be seen."""

    def __init__(self, job: str, line: Line) -> None:
        self.job, self.line = job, line
        self.newest: dict[str, Any] = {}
        self.count = self.seq = 0
        self.topology = ""

    def show(self) -> None:
        form, subject = KINDS[self.count % len(KINDS)]
        self.count += 1
        self.seq = max(self.seq + 1, int(time.time() * 1000))
        if form == "mesh":
            self.topology = str(uuid.uuid4())
            self.newest = {name: self.newest[name] for name in ("reference", "samples") if name in self.newest}
        topology = "" if form == "picture" else self.topology
        base = None if form in ("picture", "mesh") else topology
        arrays = self.arrays(form)
        self.newest |= {subject if form == "picture" else name: float(a.flat[0]) for name, a in arrays.items()}
        self.newest |= {"topology": self.topology}
        self.line.tell(Preview(self.job, self.seq, "coarse", form, topology, base, subject), arrays)

    def arrays(self, form: Form) -> Arrays:
        pixels = np.full((8, 8, 3), self.seq % 256, np.uint8)
        vertices = np.full((3, 3), self.seq % 100_000, np.float32)
        colours = np.full((3, 3), self.seq % 1000 / 1000, np.float32)
        return {
            "picture": {"picture": pixels},
            "mesh": {"vertices": vertices, "faces": FACES, "colours": colours},
            "positions": {"vertices": vertices},
            "colours": {"colours": colours},
            "texture": {"uv": np.full((3, 2), self.seq % 1000 / 1000, np.float32), "texture": pixels},
        }[form]


def do(run: Run, line: Line) -> None:
    folder = Path(os.environ["STREAM_FOLDER"])
    stream, began = Stream(run.job, line), time.monotonic()
    while not (folder / "finish").exists():
        time.sleep(STEP_SECONDS)
        if line.wants_stop(run.job):
            line.tell(Stopped(run.job, time.monotonic() - began), {})
            return
        if (folder / "hold").exists():
            _say(folder / "newest.json", stream.newest | {"step": stream.count})
            continue
        (folder / "newest.json").unlink(missing_ok=True)
        stream.show()
        line.tell(Progress(run.job, "coarse", stream.count, 10**6, time.monotonic() - began, None, ""), {})
    file = np.zeros(1 << 20, np.uint8)
    vertices, uv = np.eye(3, dtype=np.float32), np.zeros((3, 2), np.float32)
    write_result(Path(run.folder), {}, {"vertices": vertices, "faces": FACES, "uv": uv, "texture": file, "glb": file})
    line.tell(Done(run.job, time.monotonic() - began), {})


def _say(file: Path, newest: dict[str, Any]) -> None:
    if not file.exists():
        file.with_suffix(".part").write_text(json.dumps(newest))
        file.with_suffix(".part").replace(file)


if __name__ == "__main__":
    work(do)
