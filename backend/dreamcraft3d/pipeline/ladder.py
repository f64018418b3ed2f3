"""By which means a run begins on a graphics card, as planned for what is free there, and what it does when memory runs
out: one more means to need less is taken, the cheapest that is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import Preset, StageName
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.priors.memory import SENTENCES, Means, free_memory

APPLICABLE: dict[StageName, tuple[str, ...]] = {
    "reference": ("half",),
    "coarse": ("half", "words_elsewhere", "one_view", "checkpointing", "offload"),
    "geometry": ("half", "words_elsewhere", "one_view", "checkpointing", "offload"),
    "texture": ("half", "words_elsewhere", "one_view", "checkpointing", "lora"),
}
"""The means that change anything in a stage with full-size priors, the cheapest first."""

_FILE = "means.json"


@dataclass(frozen=True)
class Planned:
    """By which means stages fit a card.

    Attributes:
        means: those that any of the stages needs.
        tight: stages that do not fit even so.
    """

    means: Means
    tight: tuple[StageName, ...]


Planner = Callable[[Preset, Sequence[StageName], int], Planned | None]
"""Plans a preset's stages for so many free bytes; None where what a model needs is not known."""


def possible(preset: Preset, device: torch.device) -> frozenset[str]:
    """The means that a run on this device has.

    The embedded priors are small, float32 and without an encoder that could be checkpointed; what is on a processor
    anyway cannot be put there; what learns may be LoRAs already, or nothing does.
    """
    names = set(SENTENCES) if preset.priors.full else {"one_view", "lora"}
    if device.type == "cpu":
        names -= {"words_elsewhere", "offload"}
    texture = preset.texture
    full = {"sds": False, "vsd": not texture.lora_rank, "bsd": not (texture.lora_rank and texture.dreambooth_rank)}
    if not full[texture.method]:
        names.discard("lora")
    return frozenset(names)


class Ladder:
    """The means in force in one run; kept in its folder, so that it goes on with them.

    Args:
        folder: the run's.
        device: where it computes.
    """

    def __init__(self, folder: RunFolder, preset: Preset, device: torch.device) -> None:
        self.folder, self.preset, self.device = folder, preset, device
        taken = folder.read_json(_FILE)
        self.means = Means(**taken) if taken else Means(half=preset.priors.full and device.type == "cuda")

    def begin(self, planner: Planner, stages: Sequence[StageName]) -> str:
        """Take the means planned for what is free on the card; returns the sentence that says so.

        It is empty where nothing is planned: on a processor, with the embedded priors, for a run that goes on.
        """
        if self.device.type != "cuda" or not self.preset.priors.full:
            return ""
        if self.folder.checkpoint.is_file() or self.folder.read_json(_FILE):
            return ""
        free_memory()
        free, _ = torch.cuda.mem_get_info()
        planned = planner(self.preset, stages, free)
        if planned is None:
            return ""
        wanted = {name for means in (self.means, planned.means) for name, taken in asdict(means).items() if taken}
        self.means = Means(**dict.fromkeys(wanted & possible(self.preset, self.device), True))
        self.folder.write_json(_FILE, asdict(self.means))
        room = f"{free / 2**30:.1f} GB are free on the graphics card"
        by = "; ".join(sentence for name, sentence in SENTENCES.items() if getattr(self.means, name))
        if planned.tight:
            return f"{room}, by plan too little for {', '.join(planned.tight)}; tried all the same, with {by}."
        return f"{room}, which by plan suffices with {by}."

    def climb(self, stage: StageName, error: BaseException) -> str:
        """Take the next means for a stage in which memory ran out; returns the sentence that says so.

        Raises:
            UserError: there is none left.
        """
        left = possible(self.preset, self.device)
        taken = asdict(self.means)
        name = next((name for name in APPLICABLE[stage] if name in left and not taken[name]), None)
        ran_out = "The computer" if self.device.type == "cpu" else "The graphics card"
        if name is None:
            raise UserError(
                f"{ran_out} ran out of memory in the stage {stage}, and nothing is left that would make it need less.",
                "Free some memory and go on with the run, or start it with a smaller preset; "
                f"`dreamcraft3d plan --preset {self.preset.name}` says what it needs.",
            ) from error
        self.means = replace(self.means, **{name: True})
        self.folder.write_json(_FILE, asdict(self.means))
        again = ""
        if name == "lora":  # whose weights are others than those in the checkpoint
            self.folder.drop_checkpoints()
            again = ", from the stage's beginning"
        return f"{ran_out} ran out of memory (stage {stage}); going on with {SENTENCES[name]}{again}."
