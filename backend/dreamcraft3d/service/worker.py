"""The worker: a process of its own that loads the models and runs jobs, one after the other.

It is started by the supervisor, which names the data folder, and writes one line of JSON to its standard input: where to
connect, and with which keys. When that input ends, the supervisor is gone, and the worker ends at once: the job goes on from
its checkpoint.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from filelock import Timeout

from dreamcraft3d.service.folder import DataFolder
from dreamcraft3d.service.line import Line
from dreamcraft3d.service.logs import about, start_log
from dreamcraft3d.service.worker_messages import Failed, Ready

log = logging.getLogger(__name__)

NICENESS = 10


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def _step_back() -> None:
    """Let whatever the artist does go first. On Windows the engine sees to it."""
    if sys.platform != "win32":
        os.nice(NICENESS)
    # Linux may share the processor out among sessions (this process leads one); then a session's niceness is what counts.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


def main() -> None:
    """Run jobs until standard input ends."""
    faulthandler.enable()
    _step_back()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to answer
    greeting = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    data = DataFolder(Path(sys.argv[1]))
    start_log(data.path / "worker.log", terminal=False)
    try:
        lock = data.worker_lock.acquire(timeout=20)
    except Timeout:
        sys.exit("Another worker still uses this data folder.")
    with lock:
        line = Line(greeting["endpoint"], *(greeting[name].encode() for name in ("server", "public", "secret")))
        line.start()
        # threads that wait for work by spinning would take the processor from Blender, and from the thread that beats
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        from dreamcraft3d.service.gauge import read_gauge
        from dreamcraft3d.service.running import answers, device_name, load_models, run_job

        device = load_models()
        line.beat = partial(read_gauge, device)
        line.tell(Ready(device.type, device_name(device)), {})
        while True:
            order = line.next_order()
            with about("run", order.job):
                answer = run_job(order, line)
                if isinstance(answer, Failed) and not answers(device):  # nor would it for the next job
                    os._exit(1)
                line.tell(answer, {})


if __name__ == "__main__":
    main()
