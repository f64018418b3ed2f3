"""What diffusion models are to the rest of the house: guidances, ones that learn, and who hands them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dreamcraft3d.render.camera import Cameras


class Guidance(Protocol):
    """A prior together with what it was asked for: a prompt, or a reference picture.

    Score distillation needs no more of a model than this.
    """

    alphas_cumprod: Tensor
    """(T,) the schedule's cumulative products of alphas, falling."""

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] to the space the model works in, (B, C, h, w); differentiable."""
        ...

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        """The guided noise prediction for x_t (B, C, h, w) at timesteps (B,) int64, seen by B cameras; no gradient."""
        ...


class Adapted(Guidance, Protocol):
    """A guidance that is being trained on pictures of one object, each with its camera."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        ...

    def loss(self, clean: Tensor, cameras: Cameras, generator: torch.Generator) -> Tensor:
        """Denoising loss on encoded pictures (B, C, h, w) seen by B cameras, a scalar."""
        ...

    def at_scale(self, scale: float) -> Guidance:
        """The same model, now and as it goes on learning, guided at another scale."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The trained weights only."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave."""
        ...


@dataclass(frozen=True)
class Copied:
    """How a copy of a painter is made that is to learn.

    Attributes:
        rank: of low-rank additions, which alone are trained; None trains all weights.
        camera: whether it is told where pictures are seen from, by more than view words.
        preserved: of how many pictures, which the painter draws of the prompt's class, it is reminded while it learns.
        half: whether all weights, where all are trained, are kept in float16.
    """

    rank: int | None = None
    camera: bool = True
    preserved: int = 0
    half: bool = False


@dataclass(frozen=True)
class Drawing:
    """How a picture is drawn.

    Attributes:
        count: how many, of which the best is wanted.
        scale: of the guidance.
        start: the noise level in (0, 1] from which on the diffusion model draws, where there is something before it.
        steps: of the whole schedule.
    """

    count: int
    scale: float
    start: float
    steps: int


class Priors(Protocol):
    """The models of a run, by what its stages ask of them. Prompts come without view words.

    Attributes:
        picture_size: the side of the reference pictures that suit them, in pixels.
    """

    @property
    def picture_size(self) -> int: ...

    def check_prompt(self, prompt: str) -> str:
        """The prompt as the models will read it.

        Raises:
            UserError: they do not know its words.
        """
        ...

    def draw(self, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """Pictures (N, S, S, 3) in [0, 1] of an object's front, the most fitting first."""
        ...

    def redraw(self, picture: Tensor, prompt: str, wish: Drawing, generator: torch.Generator) -> Tensor:
        """A picture (1, S, S, 3) of an object's front as the words would have it, after noise to ``wish.start``."""
        ...

    def palette(self, drawn: Tensor, prompt: str) -> Tensor:
        """Colours (N, 3) in [0, 1] of any object as the words would have it, from those of a picture drawn for them."""
        ...

    def tinted(self, drawn: Tensor, prompt: str) -> Tensor:
        """Colours (N, 3) in [0, 1] of a picture drawn for words, nearer to the one that they name."""
        ...

    def words(self, prompt: str, scale: float) -> Guidance:
        """The 2D prior of the shape stages, at a guidance scale."""
        ...

    def normals(self, prompt: str, scale: float) -> Guidance:
        """The same for pictures of normals."""
        ...

    def view(self, reference: Tensor, scale: float) -> Guidance:
        """The 3D prior, asked for views of what the reference picture (1, H, W, 3) shows."""
        ...

    def painter(self, prompt: str, scale: float) -> Guidance:
        """The frozen 2D prior of the texture stage; works in the same space as the two that follow."""
        ...

    def decode(self, encoded: Tensor) -> Tensor:
        """Pictures (B, S, S, 3) in [0, 1] of what the painter encodes, (B, C, h, w)."""
        ...

    def dreambooth(self, prompt: str, scale: float, copied: Copied) -> Adapted:
        """A copy of the painter that is to learn the object."""
        ...

    def lora(self, prompt: str, copied: Copied) -> Adapted:
        """One that is to follow the present renders; it preserves nothing."""
        ...
