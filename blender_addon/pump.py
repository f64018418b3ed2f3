# SPDX-License-Identifier: GPL-3.0-or-later
"""The one timer: takes what the backend said, hands it to core and scene, and comes back soon or late.

Blender gives an add-on no object to keep things on, so what lives as long as the add-on is enabled is held here, and only
here. Without an event loop (``blender --background``) nothing calls the timer: call :func:`pump` yourself.
"""

from __future__ import annotations

import logging

import bpy

from .core.session import Session
from .core.studio import Studio
from .props.preferences import settings
from .scene import sync, target
from .scene.icons import Pictures

log = logging.getLogger(__name__)

BUDGET_SECONDS = 0.008
SOON, OFTEN, SELDOM = 0.02, 0.1, 0.5
LIVELY = ("searching", "installing", "starting", "connecting", "lost")


class _Held:
    """What lives as long as the add-on is enabled."""

    studio: Studio | None = None
    pictures: Pictures | None = None
    shown: object = None


def studio() -> Studio:
    """The studio; made anew where the preferences have changed."""
    wanted = settings()
    held = _Held.studio
    if held is not None and held.session.settings == wanted:
        return held
    if held is not None:
        held.close()
    _Held.studio = Studio(Session(wanted))
    _Held.studio.watch_only(target.growing_jobs())
    return _Held.studio


def pictures() -> Pictures:
    """Reference pictures as icons."""
    if _Held.pictures is None:
        _Held.pictures = Pictures()
    return _Held.pictures


def pump(budget_seconds: float = BUDGET_SECONDS) -> float:
    """Do what there is to do, within about this time; returns after how many seconds to come back."""
    now = studio()
    heard = now.tick(budget_seconds)
    written = sync.update(now, budget_seconds)
    pictures().update(now.previews.pictures)
    status = now.session.status
    if written:
        _redraw(("WINDOW", "UI"))
    elif heard or status != _Held.shown:
        _redraw(("UI",))
    _Held.shown = status
    if heard or written:
        return SOON
    return OFTEN if now.jobs.active or status.phase in LIVELY else SELDOM


def begin() -> None:
    """Let the timer run, and listen to files being opened and to undo."""
    bpy.app.timers.register(_tick, first_interval=SOON, persistent=True)
    bpy.app.handlers.load_post.append(_opened)
    for steps in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        steps.append(_undone)


def end() -> None:
    """Leave nothing behind but the backend's own process."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_post.remove(_opened)
    for steps in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        steps.remove(_undone)
    if _Held.studio is not None:
        _Held.studio.close()
    if _Held.pictures is not None:
        _Held.pictures.close()
    _Held.studio = _Held.pictures = None


def _tick() -> float:
    try:
        return pump()
    except Exception:  # Blender drops a timer that raises, and with it all that the artist waits for
        log.exception("a tick failed")
        return 1.0


@bpy.app.handlers.persistent
def _opened(*_: object) -> None:
    """A file was opened: its jobs are watched, the others let go of."""
    studio().watch_only(target.growing_jobs())


@bpy.app.handlers.persistent
def _undone(*_: object) -> None:
    """The scene is as it was before something was written: write it again."""
    studio().watch(target.growing_jobs())


def _redraw(regions: tuple[str, ...]) -> None:
    """Only what has changed: drawing a scene takes long, and progress is told many times a second."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions if area.type == "VIEW_3D" else ():
                if region.type in regions:
                    region.tag_redraw()
