# SPDX-License-Identifier: GPL-3.0-or-later
"""The one timer: takes what the backend said, hands it to core and scene, and comes back soon or late.

Blender gives an add-on no object to keep things on, so what lives as long as the add-on is enabled is held here, and only
here. Without an event loop (``blender --background``) nothing calls the timer: call :func:`pump` yourself.
"""

from __future__ import annotations

import logging
import time

import bpy

from .core.pace import Pace
from .core.session import Session
from .core.studio import Studio
from .props.preferences import settings
from .scene import sync, target
from .scene.icons import Pictures

log = logging.getLogger(__name__)

BUDGET_SECONDS = 0.008
SOON, OFTEN, SELDOM = 0.02, 0.1, 0.5
LIVELY = ("searching", "installing", "starting", "connecting", "stopping", "lost")


class _Held:
    """What lives as long as the add-on is enabled."""

    studio: Studio | None = None
    pictures: Pictures | None = None
    pace = Pace()
    shown: object = None
    untold = False
    in_status_bar = False


def studio() -> Studio:
    """The studio; made anew where the preferences name another backend."""
    wanted, held = settings(), _Held.studio
    if held is None or held.session.settings != wanted:
        _Held.studio = Studio(Session(wanted)) if held is None else held.under(wanted)
        _Held.studio.watch(target.growing_jobs())
    return _Held.studio


def pictures() -> Pictures:
    """Reference pictures as icons."""
    if _Held.pictures is None:
        _Held.pictures = Pictures()
    return _Held.pictures


def pump(budget_seconds: float = BUDGET_SECONDS, previews: bool = True) -> float:
    """Do what there is to do, within about this time; returns after how many seconds to come back.

    Args:
        previews: whether the scene may take previews; results it takes at any time.
    """
    now = studio()
    heard = now.tick(budget_seconds)
    written = sync.update(now, budget_seconds, previews)
    pictures().update(now.previews.pictures)
    status = now.session.status
    _Held.untold |= bool(heard or written) or status != _Held.shown or _preferences_open()
    _Held.shown = status
    _show(written > 0)
    if heard or _Held.pace.drawing:
        return SOON
    return OFTEN if now.jobs.active or status.phase in LIVELY else SELDOM


def _show(written: bool) -> None:
    """Have drawn what is new: the viewports, or the sidebar alone, which is told of progress many times a second."""
    pace, now = _Held.pace, time.monotonic()
    if written:
        pace.wrote(now)
        _redraw(("WINDOW", "UI"))
    elif _Held.untold and pace.may_tell(now):
        _redraw(("UI",))
    else:
        return
    _redraw_status_bar(_Held.studio)
    pace.told(now)
    _Held.untold = False


def begin() -> None:
    """Let the timer run, and listen to files being opened and saved, and to undo."""
    bpy.app.timers.register(_tick, first_interval=SOON, persistent=True)
    bpy.app.handlers.load_post.append(_opened)
    bpy.app.handlers.save_pre.append(_saving)
    for steps in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        steps.append(_undone)


def end() -> None:
    """Leave nothing behind but the backend's own process."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_post.remove(_opened)
    bpy.app.handlers.save_pre.remove(_saving)
    for steps in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        steps.remove(_undone)
    if _Held.studio is not None:
        _Held.studio.close()
    if _Held.pictures is not None:
        _Held.pictures.close()
    _Held.studio = _Held.pictures = None


def _tick() -> float:
    pace, now = _Held.pace, time.monotonic()
    pace.called(now)
    try:
        seconds = pump(previews=pace.may_write(now))
    except Exception:  # Blender drops a timer that raises, and with it all that the artist waits for
        log.exception("a tick failed")
        seconds = 1.0
    pace.leaves(time.monotonic(), seconds)
    return seconds


@bpy.app.handlers.persistent
def _opened(*_: object) -> None:
    """A file was opened: its jobs are watched, the others let go of."""
    studio().watch_only(target.growing_jobs())


@bpy.app.handlers.persistent
def _saving(*_: object) -> None:
    """The file is going to be saved."""
    sync.before_saving()


@bpy.app.handlers.persistent
def _undone(*_: object) -> None:
    """The scene is as it was before something was written: write it again."""
    studio().watch(target.growing_jobs())


def _redraw_status_bar(now: Studio | None) -> None:
    """It lies in no screen, so it is asked for by its text; not while a tool shows its own there."""
    if now is None or (now.jobs.running is None and not _Held.in_status_bar):
        return
    _Held.in_status_bar = now.jobs.running is not None
    for window in bpy.context.window_manager.windows:
        if not window.modal_operators:
            with bpy.context.temp_override(window=window):
                bpy.context.workspace.status_text_set_internal(None)


def _areas(kind: str) -> list[bpy.types.Area]:
    """All that are to be seen."""
    return [area for window in bpy.context.window_manager.windows for area in window.screen.areas if area.type == kind]


def _preferences_open() -> bool:
    """Whether the add-on's page may be in sight, where more is told than in the sidebar: log, doctor, sizes."""
    return bool(_areas("PREFERENCES"))


def _redraw(regions: tuple[str, ...]) -> None:
    """These regions of all viewports, and the preferences."""
    for area in _areas("VIEW_3D"):
        for region in area.regions:
            if region.type in regions:
                region.tag_redraw()
    for area in _areas("PREFERENCES"):
        area.tag_redraw()
