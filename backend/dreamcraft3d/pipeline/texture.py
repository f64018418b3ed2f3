"""Stage 4: the shape stands still and its colours are repainted by bootstrapped score distillation.

Each round renders the object from all around, noises the pictures to t' and restores them with the *frozen* prior,
trains a DreamBooth on the restored pictures (identifier in the prompt, camera, the reference picture among them), then
distils from it with eps_DreamBooth - eps_LoRA, a LoRA following the renders. t' falls from round to round, so that what
is restored changes less each time.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamcraft3d.distillation.bsd import bsd_loss, restored_renders
from dreamcraft3d.distillation.detail import detail
from dreamcraft3d.pipeline.config import TextureSettings
from dreamcraft3d.pipeline.geometry import save_shape
from dreamcraft3d.pipeline.losses import reference_losses, total
from dreamcraft3d.pipeline.stage import Context, joined, random_cameras
from dreamcraft3d.priors.base import Guidance
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
    """

    name = "texture"
    samples: Tensor | None = None

    def __init__(self, context: Context, mesh: Mesh, albedo: Albedo, fresh: bool = False) -> None:
        self.context = context
        self.mesh = mesh
        self.settings: TextureSettings = context.preset.texture
        self.round_steps = self.settings.dreambooth_steps + self.settings.distil_steps
        redrawn = context.preset.reference.redrawn
        self.levels = (redrawn,) * (fresh and redrawn > 0) + self.settings.restore_levels
        self.steps = len(self.levels) * self.round_steps
        self.generator = torch.Generator().manual_seed(context.seed + 2)
        self.reference = context.reference.at(self.settings.picture)
        half_extent = context.preset.half_extent
        self.colour = DenseColour(self.settings.colour_resolution, half_extent).to(context.device).imitate(albedo)
        self.optimizer = torch.optim.Adam(self.colour.parameters(), lr=self.settings.colour_rate, betas=(0.9, 0.99))
        prompt = context.reference.prompt
        rank = self.settings.dreambooth_rank or (LORA_RANK if context.means.lora else None)
        words, scale, camera = prompt, self.settings.guidance_scale, self.settings.camera
        if self.settings.identifier:
            words = identified(prompt)
        self.dreambooth = context.priors.dreambooth(words, scale, rank, camera)
        self.lora = context.priors.lora(prompt, self.settings.lora_rank, camera)
        rates = self.settings.lora_rate if rank else self.settings.dreambooth_rate, self.settings.lora_rate
        self.dreambooth_optimizer = torch.optim.AdamW(self.dreambooth.parameters, lr=rates[0])
        self.lora_optimizer = torch.optim.AdamW(self.lora.parameters, lr=rates[1])
        elevations = [(-5.0, 30.0, 10.0)[i % 3] for i in range(self.settings.restored_views)]
        around = Cameras.ring(self.settings.restored_views)
        self.views = joined(Cameras.at(0.0), Cameras(around.azimuth, torch.tensor(elevations)))
        self.restored: Tensor | None = None

    def step(self, index: int) -> dict[str, float]:
        round_index, within = divmod(index, self.round_steps)
        level = self.levels[round_index]
        self.samples = None
        if within == 0:
            self.restored = self._restore(level)
            self.samples = self.context.priors.decode(self.restored)
        if within < self.settings.dreambooth_steps:
            numbers = self._train_dreambooth()
        elif self.settings.alternate and within % 2 == 0:
            numbers = self._match_reference()
        else:
            numbers = self._distil()
        return numbers | {"round": round_index + 1, "t'": level}

    @torch.no_grad()
    def _restore(self, level: float) -> Tensor:
        """r_t'(x): encoded pictures (1 + N, C, h, w), the reference first, then the restored renders."""
        around, frozen = self.views[slice(1, None)], self._restorer()
        clean = frozen.encode(self.render(around, self.settings.picture))
        restored = restored_renders(clean, frozen, around, level, self.generator, self.settings.restore_steps)
        return torch.cat([frozen.encode(self.context.reference.rgb), restored])

    def _restorer(self) -> Guidance:
        priors, reference, scale = self.context.priors, self.context.reference, self.settings.restore_scale
        if self.settings.restore_with == "words":
            return priors.painter(reference.prompt, scale)
        return priors.view(reference.rgb, scale)

    def _train_dreambooth(self) -> dict[str, float]:
        assert self.restored is not None
        chosen = torch.randperm(len(self.views), generator=self.generator)[: self.settings.dreambooth_batch]
        clean = self.restored[chosen.to(self.restored.device)]
        loss = self.dreambooth.loss(clean, self.views[chosen], self.generator)
        self.dreambooth_optimizer.zero_grad()
        loss.backward()
        self.dreambooth_optimizer.step()
        return {"dreambooth": float(loss.detach())}

    def _match_reference(self) -> dict[str, float]:
        """A step that looks at the reference alone."""
        return self._descend(self._reference_losses(self._render(Cameras.at(0.0))))

    def _distil(self) -> dict[str, float]:
        settings = self.settings
        cameras = random_cameras(settings.views, 1.0, self.generator)
        views = self._render(cameras if settings.alternate else joined(Cameras.at(0.0), cameras))
        losses = {} if settings.alternate else self._reference_losses(views)
        low, high = (int(x * 1000) for x in settings.timesteps)
        timesteps = torch.randint(low, high, (len(cameras),), generator=self.generator)
        rgb, mask = views.rgb[-len(cameras) :], views.mask[-len(cameras) :]
        pictures = detail(rgb, mask, settings.breadth)
        loss = bsd_loss(pictures, self.dreambooth, self.lora, cameras, timesteps, self.generator)
        numbers = self._descend(losses | {"distillation": settings.weight * loss})
        lora = self.lora.loss(self.lora.encode(rgb.detach()), cameras, self.generator)
        self.lora_optimizer.zero_grad()
        lora.backward()
        self.lora_optimizer.step()
        return numbers | {"lora": float(lora.detach())}

    def _render(self, cameras: Cameras) -> MeshViews:
        render = partial(render_mesh, self.mesh, size=self.settings.picture, albedo=self.colour)
        return self.context.rendered(render, cameras)

    def _reference_losses(self, views: MeshViews) -> dict[str, Tensor]:
        """Those of the first view, which is the reference's."""
        first = views.rgb[:1], views.mask[:1], views.depth[:1], views.normal[:1]
        return reference_losses(self.settings.reference, self.reference, *first)

    def _descend(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """A step of the colours; the losses as numbers, smoothness among them."""
        losses = losses | {"smoothness": self.settings.smoothness * self.colour.smoothness()}
        self.optimizer.zero_grad()
        total(losses).backward()
        self.optimizer.step()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def state(self) -> dict[str, Any]:
        return {
            "colour": self.colour.state_dict(),
            "dreambooth": self.dreambooth.state_dict(),
            "lora": self.lora.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "dreambooth_optimizer": self.dreambooth_optimizer.state_dict(),
            "lora_optimizer": self.lora_optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "restored": self.restored,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.colour.load_state_dict(state["colour"])
        self.dreambooth.load_state_dict(state["dreambooth"])
        self.lora.load_state_dict(state["lora"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.dreambooth_optimizer.load_state_dict(state["dreambooth_optimizer"])
        self.lora_optimizer.load_state_dict(state["lora_optimizer"])
        self.generator.set_state(state["generator"])
        self.restored = None if state["restored"] is None else state["restored"].to(self.context.device)

    @torch.no_grad()
    def render(self, cameras: Cameras, size: int) -> Tensor:
        return render_mesh(self.mesh, cameras, size, albedo=self.colour).rgb.clamp(0, 1)

    @torch.no_grad()
    def surface(self) -> Mesh:
        return Mesh(self.mesh.vertices, self.mesh.faces, self.colour(self.mesh.vertices))

    def finish(self, path: Path) -> None:
        save_shape(path, self.mesh, self.colour)
