"""A TCP proxy before a backend, whose cable can be cut, or pinched so that nothing comes through and nobody is told."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable


class Proxy:
    """Listens on a free port; ``upstream`` says for each connection where it goes, or None while nobody is there.

    Attributes:
        rate: bytes a second that come through.
    """

    def __init__(self, upstream: Callable[[], tuple[str, int] | None]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open, self._flows = True, True
        self.rate = float("inf")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End all connections, and let nobody in until :meth:`mend`."""
        self._open = False
        for pair in list(self._pairs):
            self._end(pair)

    def pinch(self) -> None:
        """Let nothing through, on connections that stay."""
        self._flows = False

    def mend(self) -> None:
        """Let everybody in; what was pinched is cut, as its peers have given it up."""
        self.cut()
        self._open = self._flows = True

    def close(self) -> None:
        self.cut()
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while self._listener.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._accept(self._listener.accept()[0])

    def _accept(self, client: socket.socket) -> None:
        where = self._upstream() if self._open and self._flows else None
        try:
            backend = None if where is None else socket.create_connection(where, timeout=5)
        except OSError:
            backend = None
        if backend is None:
            client.close()
            return
        pair = client, backend
        self._pairs.append(pair)
        threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, client: socket.socket, backend: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([client, backend], [], [], 0.05)
                for one in ready if self._flows else []:
                    said = one.recv(1 << 16)
                    if not said:
                        return self._end((client, backend))
                    (backend if one is client else client).sendall(said)
                    time.sleep(len(said) / self.rate)
        self._end((client, backend))

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with contextlib.suppress(ValueError):
            self._pairs.remove(pair)
