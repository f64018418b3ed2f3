"""What a run does when memory runs out: one more means to need less is taken, the cheapest that is left."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch

from dreamcraft3d.errors import UserError
from dreamcraft3d.pipeline.config import Preset, StageName
from dreamcraft3d.pipeline.run_folder import RunFolder
from dreamcraft3d.priors.memory import SENTENCES, Means

APPLICABLE: dict[StageName, tuple[str, ...]] = {
    "reference": ("half",),
    "coarse": ("half", "words_elsewhere", "one_view", "checkpointing", "offload"),
    "geometry": ("half", "words_elsewhere", "one_view", "checkpointing", "offload"),
    "texture": ("half", "words_elsewhere", "one_view", "checkpointing", "lora"),
}
"""The means that change anything in a stage with full-size priors, the cheapest first."""

_FILE = "means.json"


def possible(preset: Preset, device: torch.device) -> frozenset[str]:
    """The means that a run on this device has.

    The embedded priors are small, float32 and without an encoder that could be checkpointed; what is on a processor
    anyway cannot be put there; a DreamBooth may be a LoRA already, or there is none.
    """
    names = set(SENTENCES) if preset.priors.full else {"one_view", "lora"}
    if device.type == "cpu":
        names -= {"words_elsewhere", "offload"}
    if preset.texture.dreambooth_rank or preset.texture.method != "bsd":
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
            self.folder.checkpoint.unlink(missing_ok=True)
            again = ", from the stage's beginning"
        return f"{ran_out} ran out of memory (stage {stage}); going on with {SENTENCES[name]}{again}."
