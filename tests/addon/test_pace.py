"""How often what is new is shown: drawing takes a tenth of the time, whatever it costs."""

from __future__ import annotations

import pytest
from blender_addon.core.pace import LONGEST_PAUSE, TELLING_SECONDS, Pace


class Window:
    """A timer that wants to be called every 20 ms, in a window where each change is drawn a few times over."""

    def __init__(self, drawings: int, seconds: float) -> None:
        self.pace, self.now = Pace(), 100.0
        self.drawings, self.seconds = drawings, seconds
        self.to_draw = 0
        self.writings: list[float] = []

    def tick(self) -> None:
        """What Blender does between two calls of the timer, and the call."""
        drawn = self.to_draw > 0
        self.to_draw -= drawn
        self.now += max(0.02, self.seconds if drawn else 0.0)
        self.pace.called(self.now)
        if self.pace.may_write(self.now):
            self.pace.wrote(self.now)
            self.writings.append(self.now)
            self.to_draw = self.drawings
        self.pace.leaves(self.now, 0.02)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.tick()


@pytest.mark.parametrize(("drawings", "seconds"), [(1, 0.1), (8, 0.05), (8, 0.3)])
def test_drawing_takes_a_tenth_of_the_time(drawings: int, seconds: float) -> None:
    window = Window(drawings, seconds)
    window.run(200)
    busy = len(window.writings) * drawings * seconds
    assert busy / 200 == pytest.approx(0.1, rel=0.2)


def test_where_drawing_is_fast_a_preview_does_not_wait_for_the_next() -> None:
    window = Window(8, 0.004)
    window.run(10)
    assert len(window.writings) > 40


def test_nothing_is_changed_before_the_last_change_is_drawn() -> None:
    window = Window(8, 0.3)
    window.run(2)
    assert len(window.writings) == 1
    assert window.pace.drawing
    assert not window.pace.may_tell(window.now)


def test_a_window_that_stood_still_for_minutes_is_given_previews_again_soon() -> None:
    window = Window(1, 300.0)
    window.run(300 + LONGEST_PAUSE + 1)
    assert len(window.writings) == 2


def test_the_sidebar_is_drawn_a_few_times_a_second() -> None:
    pace = Pace()
    told = 0
    for tick in range(500):
        now = 100 + tick / 50
        if pace.may_tell(now):
            pace.told(now)
            told += 1
    assert told == pytest.approx(10 / TELLING_SECONDS, abs=1)
