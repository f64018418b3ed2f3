"""Stage 4: the shape stands still and its colours are repainted by score distillation, bootstrapped in rounds.

Each round renders the object from all around, noises the pictures to t' and restores them with the *frozen* prior,
trains a DreamBooth on the restored pictures (identifier in the prompt, camera, the reference picture among them), then
distils from it with eps_DreamBooth - eps_LoRA, a LoRA following the renders. t' falls from round to round, so that what
is restored changes less each time.

What bootstrapping adds shows where it is left out (``method``): VSD has the frozen prior in the DreamBooth's place, SDS
also the noise itself in the LoRA's. Neither has rounds; they distil for as many steps.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamcraft3d.distillation.bsd import bsd_loss
from dreamcraft3d.distillation.detail import detail
from dreamcraft3d.distillation.sds import sds_loss
from dreamcraft3d.distillation.timesteps import Annealed
from dreamcraft3d.distillation.vsd import vsd_loss
from dreamcraft3d.pipeline.config import TextureSettings
from dreamcraft3d.pipeline.geometry import save_shape
from dreamcraft3d.pipeline.learner import Learner
from dreamcraft3d.pipeline.lessons import AllAround, Lessons, OneByOne
from dreamcraft3d.pipeline.losses import reference_losses, total
from dreamcraft3d.pipeline.own_texture import OwnTexture
from dreamcraft3d.pipeline.stage import Context, joined, random_cameras, settle
from dreamcraft3d.priors.base import Adapted, Copied, Guidance
from dreamcraft3d.priors.memory import LORA_RANK
from dreamcraft3d.priors.words import identified
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import MeshViews, render_mesh
from dreamcraft3d.shape.colour import Albedo, DenseColour
from dreamcraft3d.shape.mesh import Mesh


class TextureStage:
    """Args of the constructor:

    context: shared by all stages.
    mesh: the shape to paint.
    albedo: the colours to start from.
    fresh: those colours are only a start, so a first round paints over them, at the noise level that the reference
        was redrawn at; none where it was not.
    part: (H, W, 1) in [0, 1], what of the mesh's texture is repainted, so that it fits to the rest; None for all.
    """

    name = "texture"
    samples: Tensor | None = None

    def __init__(
        self, context: Context, mesh: Mesh, albedo: Albedo, fresh: bool = False, part: Tensor | None = None
    ) -> None:
        self.context = context
        self.settings: TextureSettings = context.preset.texture
        self.mesh = mesh
        size = context.preset.export.texture
        self.own = None if mesh.uv is None else OwnTexture(mesh, part, self.settings.picture, size)
        bootstrapped = self.settings.method == "bsd"
        self.dreambooth_steps = self.settings.dreambooth_steps if bootstrapped else 0
        self.round_steps = self.dreambooth_steps + self.settings.distil_steps
        redrawn = context.preset.reference.redrawn
        self.levels = (redrawn,) * (fresh and redrawn > 0) + self.settings.restore_levels
        self.steps = len(self.levels) * self.round_steps
        self.timesteps = Annealed(self.settings.timesteps_start, self.settings.timesteps_end, 1.0)
        self.generator = torch.Generator().manual_seed(context.seed + 2)
        self.shown = context.reference if self.own is None else self.own.within_part(context.reference)
        self.reference = self.shown.at(self.settings.picture)
        half_extent = context.preset.half_extent
        self.colour = DenseColour(self.settings.colour_resolution, half_extent).to(context.device).imitate(albedo)
        self.optimizer = torch.optim.Adam(self.colour.parameters(), lr=self.settings.colour_rate, betas=(0.9, 0.99))
        self.dreambooth = self._dreambooth() if bootstrapped else None
        self.lora = None if self.settings.method == "sds" else self._lora()
        self.prior: Guidance = self.dreambooth.model if self.dreambooth else self._painter(self.settings.guidance_scale)
        self.lessons = self._lessons(self.dreambooth.model) if self.dreambooth else None

    def _dreambooth(self) -> Learner:
        settings, prompt = self.settings, self.context.reference.prompt
        words = identified(prompt) if settings.identifier else prompt
        how = replace(self._copied(settings.dreambooth_rank), preserved=settings.preserved)
        made = self.context.priors.dreambooth(words, settings.guidance_scale, how)
        return Learner(made, settings.lora_rate if how.rank else settings.dreambooth_rate, settings.damping)

    def _lora(self) -> Learner:
        settings = self.settings
        made = self.context.priors.lora(self.context.reference.prompt, self._copied(settings.lora_rank))
        return Learner(made, settings.lora_rate, settings.damping)

    def _copied(self, rank: int) -> Copied:
        """How a copy is made that the preset wants of this rank, 0 for a whole one."""
        low = rank or (LORA_RANK if self.context.means.lora else None)
        return Copied(low, self.settings.camera, half=self.settings.half and low is None)

    def _lessons(self, dreambooth: Adapted) -> Lessons:
        shared = (
            self.settings,
            lambda cameras: self.render(cameras, self.settings.picture),
            self._restorer,
            self.generator,
            None if self.own is None or self.own.part is None else self._part_seen,
        )
        if self.settings.restore_every:
            return OneByOne(dreambooth, *shared)
        return AllAround(self.shown.rgb, *shared)

    @torch.no_grad()
    def _part_seen(self, cameras: Cameras) -> Tensor:
        assert self.own is not None
        return self.own.part_seen(cameras.to(self.context.device), self.settings.picture)

    def _painter(self, scale: float) -> Guidance:
        return self.context.priors.painter(self.context.reference.prompt, scale)

    def step(self, index: int) -> dict[str, float]:
        round_index, within = divmod(index, self.round_steps)
        self.samples = None
        if self.dreambooth is None or self.lessons is None:
            return self._paint(index, within)
        level = self.levels[round_index]
        renewed = self.lessons.renew(within, level)
        if renewed is not None:
            self.samples = self.context.priors.decode(renewed)
        if within < self.dreambooth_steps:
            learnt = self.dreambooth.learn(*self.lessons.draw(self.settings.dreambooth_batch), self.generator)
            numbers = {"dreambooth": learnt}
        else:
            numbers = self._paint(index, within)
        return numbers | {"round": round_index + 1, "t'": level}

    def _restorer(self) -> Guidance:
        scale = self.settings.restore_scale
        if self.settings.restore_with == "words":
            return self._painter(scale)
        return self.context.priors.view(self.context.reference.rgb, scale)

    def _paint(self, index: int, within: int) -> dict[str, float]:
        """A step of the colours, by its numbers in the stage and in its round."""
        progress = index / self.steps
        settle(self.optimizer, progress, self.settings.settling)
        if self.settings.alternate and within % 2 == 0:
            return self._match_reference()
        return self._distil(progress)

    def _match_reference(self) -> dict[str, float]:
        """A step that looks at the reference alone."""
        return self._descend(reference_losses(self.settings.reference, self.reference, self._render(Cameras.at(0.0))))

    def _distil(self, progress: float) -> dict[str, float]:
        settings = self.settings
        cameras = random_cameras(settings.views, 1.0, self.generator)
        views = self._render(cameras if settings.alternate else joined(Cameras.at(0.0), cameras))
        losses = {} if settings.alternate else reference_losses(self.settings.reference, self.reference, views)
        timesteps = self.timesteps.draw(progress, len(cameras), 1000, self.generator)
        rgb, mask = views.rgb[-len(cameras) :], views.mask[-len(cameras) :]
        pictures = detail(rgb, mask, settings.breadth)
        loss = self.score(pictures, cameras, timesteps)
        numbers = self._descend(losses | {"distillation": settings.weight * loss})
        if self.lora is not None:
            numbers["lora"] = self.lora.learn(self.lora.model.encode(rgb.detach()), cameras, self.generator)
        return numbers

    def score(self, pictures: Tensor, cameras: Cameras, timesteps: Tensor) -> Tensor:
        """The method's loss of renders (B, S, S, 3) seen by B cameras, at timesteps (B,) int64; a scalar."""
        if self.lora is None:
            return sds_loss(pictures, self.prior, cameras, timesteps, self.generator)
        distil = vsd_loss if self.dreambooth is None else bsd_loss
        return distil(pictures, self.prior, self.lora.model, cameras, timesteps, self.generator)

    def _render(self, cameras: Cameras) -> MeshViews:
        return self.context.rendered(partial(self._views, size=self.settings.picture), cameras)

    def _views(self, cameras: Cameras, size: int) -> MeshViews:
        if self.own is None:
            return render_mesh(self.mesh, cameras, size, albedo=self.colour)
        return render_mesh(self.own.mesh, cameras, size, albedo=self.colour, part=self.own.part)

    def _descend(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """A step of the colours; the losses as numbers, smoothness among them."""
        losses = losses | {"smoothness": self.settings.smoothness * self.colour.smoothness()}
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _learners(self) -> list[Learner]:
        return [learner for learner in (self.dreambooth, self.lora) if learner is not None]

    def state(self) -> dict[str, Any]:
        return {
            "colour": self.colour.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learners": [learner.state() for learner in self._learners()],
            "generator": self.generator.get_state(),
            "lessons": None if self.lessons is None else self.lessons.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.colour.load_state_dict(state["colour"])
        self.optimizer.load_state_dict(state["optimizer"])
        for learner, kept in zip(self._learners(), state["learners"], strict=True):
            learner.restore(kept)
        self.generator.set_state(state["generator"])
        if self.lessons is not None:
            self.lessons.restore(state["lessons"], self.context.device)

    @torch.no_grad()
    def render(self, cameras: Cameras, size: int) -> Tensor:
        return self._views(cameras, size).rgb.clamp(0, 1)

    @torch.no_grad()
    def surface(self) -> Mesh:
        if self.own is not None:
            return self.own.painted(self.colour)
        return Mesh(self.mesh.vertices, self.mesh.faces, self.colour(self.mesh.vertices))

    def finish(self, path: Path) -> None:
        save_shape(path, self.mesh, self.colour)
