# SPDX-License-Identifier: GPL-3.0-or-later
"""How often what is new is shown, so that the artist's hand does not feel it, on whatever draws the window."""

from __future__ import annotations

SHARE = 0.1
"""Of the time, which drawing previews may take."""
CALM_SECONDS = 0.02
"""A timer called no later than this was kept waiting by no drawing."""
LONGEST_PAUSE = 30.0
TELLING_SECONDS = 0.5
"""Between two drawings of the sidebar, which cost little."""


class Pace:
    """Measures how long the window is busy with a change of the scene, and lets the next one wait accordingly.

    Blender draws between two calls of a timer, and more than once for a change, as it smooths edges picture by picture. So
    a change costs the time until the timer is called punctually again. With a graphics card that is a few milliseconds;
    without one, seconds.
    """

    def __init__(self) -> None:
        self._due_at = 0.0
        self._wrote_at: float | None = None
        self._free_at = 0.0
        self._told_at = 0.0

    @property
    def drawing(self) -> bool:
        """Whether the last change is still being drawn."""
        return self._wrote_at is not None

    def called(self, now: float) -> None:
        """The timer is called."""
        if self._wrote_at is not None and now - self._due_at < CALM_SECONDS:
            self._free_at = now + min((now - self._wrote_at) * (1 / SHARE - 1), LONGEST_PAUSE)
            self._wrote_at = None

    def leaves(self, now: float, seconds: float) -> None:
        """The timer wants to be called again after this time."""
        self._due_at = now + seconds

    def may_write(self, now: float) -> bool:
        """Whether the scene may be changed."""
        return not self.drawing and now >= self._free_at

    def wrote(self, now: float) -> None:
        """The scene was changed."""
        self._wrote_at = now

    def may_tell(self, now: float) -> bool:
        """Whether the sidebar may be drawn."""
        return not self.drawing and now >= self._told_at + TELLING_SECONDS

    def told(self, now: float) -> None:
        """The sidebar is drawn anew."""
        self._told_at = now
