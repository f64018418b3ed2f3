"""The logs of supervisor and worker: a JSON object a line in the data folder, words alone in the terminal.

A line has ``time`` (UTC), ``level``, ``event`` (what was asked or told, such as ``submit``, or else who speaks), ``job``
where it is about one, ``message``, and the ``trace`` of a bug.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 1 << 20
KEPT = 3
"""Older files beside the newest: ``serve.log.1`` ..."""
SOURCES = ("serve", "worker")
_FIELDS = ("time", "level", "event", "job", "message", "trace")

_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10})

_about: ContextVar[tuple[str, str]] = ContextVar("_about", default=("", ""))


@contextmanager
def about(event: str, job: str | None) -> Iterator[None]:
    """What is logged inside is about this."""
    token = _about.set((event, job or ""))
    try:
        yield
    finally:
        _about.reset(token)


def harmless(text: str) -> str:
    """What a terminal can be given of a text that others wrote: all but what would move its cursor or paint it."""
    return text.translate(_CONTROLS)


class _InWords(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event, job = _about.get()
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": event or record.name.rpartition(".")[2],
            "job": job,
            "message": record.getMessage(),
            "trace": self.formatException(record.exc_info) if record.exc_info else "",
        }
        return json.dumps({name: text for name, text in said.items() if text}, ensure_ascii=False)


def start_log(file: Path, terminal: bool) -> None:
    """Log to a file, which is rotated, and perhaps to the terminal, too. Raises OSError if it cannot be written."""
    kept = RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
    kept.setFormatter(_AsJson())
    handlers: list[logging.Handler] = [kept]
    if terminal:
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(_InWords("%(asctime)s %(levelname)s %(message)s"))
        handlers.append(shown)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)


@dataclass(frozen=True)
class Line:
    """A line of a log; ``source`` is the process that wrote it, of :data:`SOURCES`."""

    source: str
    time: str = ""
    level: str = "info"
    event: str = ""
    job: str = ""
    message: str = ""
    trace: str = ""


class Logs:
    """What is written in the logs of a data folder. Files are never kept open, so that they can be rotated meanwhile."""

    def __init__(self, data: Path) -> None:
        self._files = {source: data / f"{source}.log" for source in SOURCES}
        self._read = dict.fromkeys(SOURCES, 0)
        self._last = {source: Line(source) for source in SOURCES}

    def written(self) -> list[Line]:
        """All that there is, oldest first; :meth:`new` goes on from there."""
        lines: list[Line] = []
        for source, file in self._files.items():
            for number in range(KEPT, 0, -1):
                lines += self._lines(source, _text(_older(file, number), 0))
        return sorted(lines + self.new(), key=lambda line: line.time)

    def new(self) -> list[Line]:
        """What has come since the last call."""
        lines: list[Line] = []
        for source, file in self._files.items():
            done = self._read[source]
            if file.is_file() and file.stat().st_size < done:  # it was rotated
                lines += self._lines(source, _text(_older(file, 1), done))
                done = 0
            text = _text(file, done)
            self._read[source] = done + len(text)
            lines += self._lines(source, text)
        return sorted(lines, key=lambda line: line.time)

    def _lines(self, source: str, text: bytes) -> list[Line]:
        found = []
        for one in text.splitlines():
            self._last[source] = _line(source, one.decode("utf-8", "replace"), self._last[source])
            found.append(self._last[source])
        return found


def _line(source: str, text: str, before: Line) -> Line:
    """What is no such object, such as a line of an earlier version, counts as a message of the time of that ``before``."""
    try:
        said = json.loads(text)
        return Line(source, **{name: str(said[name]) for name in _FIELDS if name in said})
    except (ValueError, TypeError):
        return Line(source, time=before.time, message=text)


def _older(file: Path, number: int) -> Path:
    return file.with_name(f"{file.name}.{number}")


def _text(file: Path, start: int) -> bytes:
    """The whole lines of a file from a byte on; none where there is no such file."""
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            text = opened.read()
    except FileNotFoundError:
        return b""
    return text[: text.rfind(b"\n") + 1]
