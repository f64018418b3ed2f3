"""Chooses the cheapest means by which each stage fits a card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import STAGES, Preset, StageName
from dreamcraft3d.pipeline.ladder import APPLICABLE, Planned
from dreamcraft3d.plan.stages import Moment, moments
from dreamcraft3d.priors.memory import SENTENCES, Means

GIB = 1 << 30
RESERVE = GIB
"""Of a card's memory, what the driver, the libraries' kernels and the allocator's gaps take: an assumption."""


@dataclass(frozen=True)
class StagePlan:
    """One stage on one card.

    Attributes:
        stage: its name.
        means: what is done to make it fit, or all that can be done where it does not.
        moments: what is on the card, one after another.
        room: bytes that there are for it.
    """

    stage: StageName
    means: Means
    moments: list[Moment]
    room: int

    @property
    def largest(self) -> Moment:
        """The moment that needs most."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def fits(self) -> bool:
        return self.largest.total <= self.room

    @property
    def sentences(self) -> list[str]:
        """The means in words."""
        return [sentence for name, sentence in SENTENCES.items() if getattr(self.means, name)]


def plan_run(preset: Preset, vram: float) -> list[StagePlan]:
    """Plan every stage of a preset for a card of ``vram`` GiB.

    Raises:
        UserError: the preset has no full-size priors, or names one that is not known.
    """
    if not preset.priors.full:
        raise UserError(
            f"The preset {preset.name} is guided by the embedded priors, which need no graphics card.",
            "Plan for one with full-size priors, such as --preset paper.",
        )
    return [plan_stage(stage, preset, round(vram * GIB) - RESERVE) for stage in STAGES]


def first_means(preset: Preset, stages: Sequence[StageName], free: int) -> Planned | None:
    """By which means a run of these stages fits in ``free`` bytes of a card, less the reserve; a ``Planner``.

    The first call in a process takes a second or so, as it builds every model to count it. None where the preset names a
    model that a plan does not know.
    """
    try:
        plans = [plan_stage(stage, preset, free - RESERVE) for stage in stages]
    except UserError:
        return None
    means = Means(**{name: any(getattr(plan.means, name) for plan in plans) for name in SENTENCES})
    return Planned(means, tuple(plan.stage for plan in plans if not plan.fits))


def plan_stage(stage: StageName, preset: Preset, room: int) -> StagePlan:
    """The cheapest means by which a stage fits in ``room`` bytes.

    A dearer means is taken only where all the cheaper ones together do not do.
    """
    names = APPLICABLE[stage]
    for chosen in range(1 << len(names)):  # in binary, the dearest is the highest bit; the last has them all
        means = Means(**{name: bool(chosen >> index & 1) for index, name in enumerate(names)})
        plan = StagePlan(stage, means, moments(stage, preset, means), room)
        if plan.fits:
            break
    return plan
