"""A scripted backend beside a Blender with a window."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import bpy

sys.path[:0] = [os.environ["CHECKOUT"], os.path.join(os.environ["CHECKOUT"], "tests")]


class Server:
    """The scripted backend, which answers from Blender's own timers."""

    def __init__(self, data: Path) -> None:
        from scripted_backend import ScriptedBackend

        self.backend = ScriptedBackend(data)
        self.answers = True
        bpy.app.timers.register(self.serve, persistent=True)

    def serve(self) -> float | None:
        if self.backend.socket.closed:
            return None
        if self.answers:
            self.backend.serve()
        return 0.02

    def close(self) -> None:
        self.backend.close()
