"""A file manager's part in dragging a file onto a window: ``python file_manager.py FILE X Y``, a point of the screen.

A program of its own, as it is on a desktop: Blender waits for it from the moment the file is above its window. It speaks
version 5 of XDND (https://freedesktop.org/wiki/Specifications/XDND/), needs python-xlib, and ends with the status 0 where
the file was taken.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from Xlib import X, Xatom, display
from Xlib.protocol import event

VERSION = 5
SECONDS = 20.0


class FileManager:
    """A window that has a file in hand.

    Attributes:
        uri: of the file.
        said: messages of XDND that came, by their names: the five numbers of each.
    """

    def __init__(self, uri: str) -> None:
        self.uri, self.said = uri, dict[str, Any]()
        self.display = display.Display()
        self.root = self.display.screen().root
        self.window = self.root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
        self.list = self.atom("text/uri-list")
        self.window.set_selection_owner(self.atom("XdndSelection"), X.CurrentTime)

    def atom(self, name: str) -> int:
        return int(self.display.intern_atom(name))

    def target(self, x: int, y: int) -> Any:
        """The window at a point of the screen, if it takes drops; there is no window manager around it."""
        found = self.root.translate_coords(self.root, x, y).child
        assert found, "nothing is there"
        assert found.get_full_property(self.atom("XdndAware"), Xatom.ATOM), "what is there takes no drops"
        return found

    def tell(self, target: Any, name: str, *data: int) -> None:
        numbers = (self.window.id, *data, *[0] * (4 - len(data)))
        message = event.ClientMessage(window=target, client_type=self.atom(name), data=(32, numbers))
        target.send_event(message)
        self.display.flush()

    def serve(self, until: str) -> None:
        """Hand the file's address to whoever asks, until a message comes."""
        deadline = time.monotonic() + SECONDS
        self.said.pop(until, None)
        while until not in self.said:
            assert time.monotonic() < deadline, f"no {until} came"
            if not self.display.pending_events():
                time.sleep(0.02)
                continue
            came = self.display.next_event()
            if came.type == X.SelectionRequest:
                self.hand_over(came)
            elif came.type == X.ClientMessage:
                self.said[self.display.get_atom_name(came.client_type)] = came.data[1]

    def hand_over(self, asked: Any) -> None:
        wanted = asked.target == self.list
        if wanted:
            asked.requestor.change_property(asked.property, self.list, 8, f"{self.uri}\r\n".encode())
        answer = event.SelectionNotify(
            time=asked.time, requestor=asked.requestor, selection=asked.selection, target=asked.target,
            property=asked.property if wanted else X.NONE,
        )  # fmt: skip
        asked.requestor.send_event(answer)
        self.display.flush()

    def drop(self, x: int, y: int) -> bool:
        """Drag the file over a window and let go of it at a point of the screen; whether it was taken."""
        self.root.warp_pointer(x, y)
        self.display.sync()
        target = self.target(x, y)
        copy = self.atom("XdndActionCopy")
        self.tell(target, "XdndEnter", VERSION << 24, self.list)
        self.tell(target, "XdndPosition", 0, x << 16 | y, X.CurrentTime, copy)
        self.serve("XdndStatus")
        if not self.said["XdndStatus"][1] & 1:
            self.tell(target, "XdndLeave")
            return False
        self.tell(target, "XdndDrop", 0, X.CurrentTime)
        self.serve("XdndFinished")
        return True


if __name__ == "__main__":
    path, x, y = sys.argv[1:]
    sys.exit(0 if FileManager(Path(path).as_uri()).drop(int(x), int(y)) else "the window does not want it")
