"""Full-size models for clients: what there is, and downloads, one after the other, each a process of its own.

The supervisor knows the catalogue and the folder; the hub's library is loaded by that process alone (``dreamcraft3d models
download --json``), which can be ended at any time: the next one asks only for the files that are not whole.
"""

from __future__ import annotations

import json
import logging
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.catalogue import Model, catalogue, find_model
from dreamcraft3d.models.folder import is_present, models_folder
from dreamcraft3d_protocol.messages import Fault, ModelInfo, ModelList

log = logging.getLogger(__name__)

TELL_SECONDS = 0.5
"""Between two lists that differ in progress alone."""
State = Literal["absent", "waiting", "downloading", "present"]
HUB = "https://huggingface.co"


class _Running:
    """A download: its process, and what that said last."""

    def __init__(self, model: Model) -> None:
        command = [sys.executable, "-P", "-m", "dreamcraft3d.cli", "models", "download", model.name, "--json"]
        self.model = model
        self.done = self.total = 0
        self.fault: Fault | None = None
        self.said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            [*command, "--accept-licence", model.licence],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        """On a thread of its own, as a pipe cannot be asked on every system whether there is something in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                self.said.put(said)

    def listen(self) -> bool:
        """Take in what it said; returns whether that was anything."""
        heard = False
        while not self.said.empty():
            said, heard = self.said.get(), True
            if "total" in said:
                self.done, self.total = int(said["done"]), int(said["total"])
            elif "sentence" in said:
                self.fault = Fault("user", str(said["sentence"]), str(said["hint"]), "")
        return heard

    @property
    def over(self) -> bool:
        return self.process.poll() is not None and not self.reader.is_alive()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Downloads:
    """The models of this machine, and those on their way.

    Any client with an enrolled key may ask for a download: the catalogue names all that can be had, and a job fills the disk
    as well.

    Args:
        changed: called when there is something new to tell.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._waiting: list[Model] = []
        self._running: _Running | None = None
        self._faults: dict[str, Fault] = {}
        self._told_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether a model is on its way."""
        return self._running is not None or bool(self._waiting)

    def listed(self) -> ModelList:
        """The catalogue as it is now."""
        return ModelList(
            tuple(self._told(model) for model in catalogue().values()), str(models_folder()), _free() / 1e9
        )

    def begin(self, name: str, accepted: bool, who: str) -> None:
        """Get a model, or let it wait for its turn.

        Args:
            accepted: whether its licence was.
            who: asks, for the log.

        Raises:
            UserError: there is no such model, or its licence must be accepted first.
        """
        model = find_model(name)
        if model.non_commercial and not accepted:
            raise UserError(
                f"The licence of {name}, {model.licence}, forbids commercial use.", "Accept it before you download."
            )
        if any(model is other for other in self._on_their_way()):
            return
        log.info("%s asks for the model %s%s", who, name, f" and accepts {model.licence}" if accepted else "")
        self._faults.pop(name, None)
        self._waiting.append(model)
        self.tick()
        self._changed()

    def cancel(self, name: str) -> None:
        """Leave off, or do not begin."""
        self._waiting = [model for model in self._waiting if model.name != name]
        if self._running is not None and self._running.model.name == name:
            self._running.stop()
            self._running = None
            log.info("the download of %s was stopped", name)
        self._changed()

    def tick(self) -> None:
        """Go on without waiting."""
        running = self._running
        if running is not None:
            heard, over = running.listen(), running.over
            if over:
                self._ended(running)
            if over or (heard and time.monotonic() - self._told_at > TELL_SECONDS):
                self._told_at = time.monotonic()
                self._changed()
        if self._running is None and self._waiting:
            model = self._waiting.pop(0)
            try:
                self._running = _Running(model)
            except OSError as error:
                self._faults[model.name] = Fault("disk", f"It cannot be begun: {error.strerror}.", "", "")

    def close(self) -> None:
        self._waiting.clear()
        if self._running is not None:
            self._running.stop()

    def _on_their_way(self) -> list[Model]:
        return [*self._waiting, *([self._running.model] if self._running is not None else [])]

    def _ended(self, running: _Running) -> None:
        running.listen()
        self._running = None
        code, name = running.process.returncode, running.model.name
        log.info("the download of %s ended with status %d", name, code)
        if code != 0:
            lost = Fault("bug", f"The download ended with status {code}.", "Try again.", "")
            self._faults[name] = running.fault or lost

    def _told(self, model: Model) -> ModelInfo:
        running = self._running if self._running is not None and self._running.model is model else None
        fault = self._faults.get(model.name)
        state: State = "absent"
        if running is not None:
            state = "downloading"
        elif model in self._waiting:
            state = "waiting"
        else:
            try:
                state = "present" if is_present(model) else "absent"
            except UserError as error:  # its lock cannot be read
                fault = Fault("user", error.sentence, error.hint, "")
        return ModelInfo(
            name=model.name,
            about=model.about,
            use=", ".join(model.roles),
            gigabytes=model.gigabytes,
            licence=model.licence,
            non_commercial=model.non_commercial,
            gated=model.gated,
            page=f"{HUB}/{model.repositories[0]}",
            state=state,
            done=running.done if running is not None else 0,
            total=running.total if running is not None else 0,
            fault=fault,
        )


def _free() -> int:
    """Bytes that are free where models lie, or will."""
    folder: Path = models_folder().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
