"""Clients by the dozen in a process of its own: ``python crowd.py DATA CLIENTS VIEWERS PAUSE``, until its input ends.

The viewers attach to every job. All are read one after the other, with a pause of so many seconds between rounds. In the end
it prints how many messages came, and how often a client had to connect anew.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from dreamcraft3d_protocol.client import Client, local_target
from dreamcraft3d_protocol.messages import Attach, JobState, Welcome


def main(data: Path, count: int, viewers: int, pause: float) -> None:
    clients = [Client(local_target(data), "crowd", "1") for _ in range(count)]
    attached: list[set[str]] = [set() for _ in clients]
    came = welcomes = 0
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.is_set():
        for number, client in enumerate(clients):
            for message, _ in client.receive():
                came += 1
                welcomes += isinstance(message, Welcome)
                begun = isinstance(message, JobState) and message.state in ("queued", "running")
                if begun and number < viewers and message.job not in attached[number]:
                    attached[number].add(message.job)
                    client.send(Attach(message.job))
        time.sleep(pause)
    sys.stdout.write(json.dumps({"messages": came, "anew": welcomes - count}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
