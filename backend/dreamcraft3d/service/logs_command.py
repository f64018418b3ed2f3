"""``dreamcraft3d logs``: what the backend's two processes have written, in one."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dreamcraft3d.errors import UserError
from dreamcraft3d.service.logs import Line, Logs, harmless
from dreamcraft3d_protocol.connection import default_data_folder

FOLLOW_SECONDS = 0.5
SHORT = 8
"""Characters of an id that are shown."""
_COLOURS = {"warning": "yellow", "error": "red", "critical": "red"}


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last.")] = 50,
    job: Annotated[str, typer.Option("--job", help="Of one job alone: the beginning of its id.")] = "",
    data: Annotated[Path | None, typer.Option("--data", help="The data folder that is served.")] = None,
) -> None:
    """Show what supervisor and worker have logged, whether they run or not."""
    folder = data or default_data_folder()
    log = Logs(folder)
    written = log.written()
    if not written and not follow:
        raise UserError(f"There are no logs in {folder}.", "Name the folder that is served by --data.")
    wanted = _the_job(written, job) if job else ""
    shown = [line for line in written if line.job == wanted] if wanted else written
    console = Console(soft_wrap=True, highlight=False)
    for line in shown[-lines:] if lines else []:
        console.print(_words(line))
    try:
        while follow:
            time.sleep(FOLLOW_SECONDS)
            for line in log.new():
                if line.job == wanted or not wanted:
                    console.print(_words(line))
    except KeyboardInterrupt:
        return


def _the_job(written: list[Line], start: str) -> str:
    """The one job whose id begins so. Raises UserError if there is none, or several."""
    found = {line.job for line in written if line.job.startswith(start)}
    if len(found) != 1:
        several = f"{len(found)} jobs in the logs have ids that begin with {start!r}."
        raise UserError(several if found else f"No job {start!r} is in the logs.", "Give more of its id, or another.")
    return found.pop()


def _words(line: Line) -> Text:
    words = Text()
    for text, style in (
        (f"{_moment(line.time):<19}", "dim"),
        (f"{line.source:<6}", "dim"),
        (f"{line.level:<7}", _COLOURS.get(line.level, "dim")),
        (f"{line.job[:SHORT]:<{SHORT}}", "cyan"),
        (f"{line.event:<10}", "bold"),
    ):
        words.append(text + " ", style)
    words.append(harmless(line.message))
    if line.trace:
        words.append("\n" + harmless(line.trace), "dim")
    return words


def _moment(time: str) -> str:
    """In this machine's time zone."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""
