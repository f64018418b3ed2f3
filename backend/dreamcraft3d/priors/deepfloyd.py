"""DeepFloyd IF's first stage as a 2D prior: pixels at 64 px, words by T5, Perp-Neg between views.

How the released DreamCraft3D drives its geometry stages. The model is read from a folder in the diffusers layout; its
safety checker and watermark, which only mark pictures for people, are never loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.priors.guided import classifier_free, perp_neg, perp_neg_weights, view_shares
from dreamcraft3d.priors.model_folder import load_alphas_cumprod, load_part, require_parts
from dreamcraft3d.priors.text_cache import text_embeddings
from dreamcraft3d.priors.words import view_words
from dreamcraft3d.render.camera import Cameras

PIXELS = 64
GUIDANCE_SCALE = 20.0
FRONT, SIDE, BACK, OVERHEAD = VIEWS = ("front view", "side view", "back view", "overhead view")


@dataclass(frozen=True)
class DeepFloyd:
    """The model without its words.

    Attributes:
        unet: predicts noise and variance, six channels.
        alphas_cumprod: (T,) of its schedule.
    """

    unet: UNet2DConditionModel
    alphas_cumprod: Tensor

    @staticmethod
    def load(folder: Path, dtype: torch.dtype, device: torch.device | str) -> DeepFloyd:
        """Read ``unet`` and ``scheduler``.

        On a small card, :func:`encode_prompt` should come first: then the text encoder has gone again.

        Raises:
            UserError: the folder is incomplete or holds another model.
        """
        require_parts(folder, "unet", "scheduler")
        unet = load_part(UNet2DConditionModel, folder, "unet", dtype)
        taken, given = unet.config.in_channels, unet.config.out_channels
        if (taken, given) != (3, 6):
            raise UserError(
                f"The model in {folder} takes {taken} channels and gives {given}; DeepFloyd IF's first stage takes 3 and"
                " gives 6.",
                "Name the folder of an IF-I model.",
            )
        return DeepFloyd(unet.to(device), load_alphas_cumprod(DDPMScheduler, folder).to(device))

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, words: list[Tensor]) -> list[Tensor]:
        """The noise (B, 3, 64, 64) in x_t under each of several embeddings (B, tokens, width), in one pass."""
        count = len(words)
        output = self.unet(
            noisy.repeat(count, 1, 1, 1).to(self.unet.dtype),
            timesteps.to(noisy.device).repeat(count),
            torch.cat(words).to(self.unet.dtype),
        ).sample
        noise = output[:, :3]  # the rest is the variance, which sampling needs and distillation does not
        return list(noise.to(noisy.dtype).chunk(count))


def encode_prompt(
    folder: Path,
    prompt: str,
    dtype: torch.dtype,
    device: torch.device | str,
    eight_bit: bool = False,
    cache: Path | None = None,
    negative: str = "",
) -> dict[str, Tensor]:
    """(77, width) word features of a prompt under each of ``VIEWS``, and as "" of a negative one, which may be empty.

    In lower case, as IF's captions were. Arguments and errors as of :func:`text_embeddings`.
    """
    texts = {view: f"{prompt}, {view}".strip().lower() for view in VIEWS} | {"": negative.lower()}
    found = text_embeddings(folder, list(texts.values()), dtype, device, eight_bit, cache)
    return {view: found[text] for view, text in texts.items()}


class DeepFloydGuidance:
    """One prompt, with view words for the camera.

    Args:
        words: of :func:`encode_prompt`.
        scale: of the guidance, s in u + s (c - u). Without Perp-Neg the released code computes c + s (c - u): its 20
            is 21 here. With it, both mean the same.
        use_perp_neg: blend the word features of neighbouring views and push away from front and side by
            :func:`perp_neg_weights`; otherwise each camera gets the words of its view and classifier-free guidance.
        view_threshold: degrees from the exact front, and from the exact back, within which their words are used;
            without Perp-Neg only.
    """

    def __init__(
        self,
        model: DeepFloyd,
        words: dict[str, Tensor],
        scale: float = GUIDANCE_SCALE,
        use_perp_neg: bool = True,
        view_threshold: float = 45.0,
    ) -> None:
        self.model = model
        self.alphas_cumprod = model.alphas_cumprod
        self.words = words
        self.scale = scale
        self.use_perp_neg = use_perp_neg
        self.view_threshold = view_threshold

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, H, W, 3) in [0, 1] to (B, 3, 64, 64) in [-1, 1], bilinear."""
        return F.interpolate(pictures.permute(0, 3, 1, 2) * 2 - 1, (PIXELS, PIXELS), mode="bilinear")

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, cameras: Cameras) -> Tensor:
        angles = zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)
        views = [view_words(azimuth, elevation, self.view_threshold) for azimuth, elevation in angles]
        seen = torch.stack([self.words[view] for view in views])
        nothing, front, side = (self.words[view].expand_as(seen) for view in ("", FRONT, SIDE))
        if not self.use_perp_neg:
            without, wanted = self.model.predict_noise(noisy, timesteps, [nothing, seen])
            return classifier_free(without, wanted, self.scale)
        # From above there are neither neighbours to blend nor views to avoid.
        above = torch.tensor([view == OVERHEAD for view in views], device=noisy.device)
        blended = torch.where(above[:, None, None], seen, self._between_views(cameras.azimuth.to(noisy)))
        weights = perp_neg_weights(cameras.azimuth.to(noisy)).masked_fill(above[:, None], 0)
        without, wanted, *avoided = self.model.predict_noise(noisy, timesteps, [nothing, blended, front, side])
        return perp_neg(without, wanted, torch.stack(avoided, dim=1), weights, self.scale)

    def _between_views(self, azimuth: Tensor) -> Tensor:
        """(B, tokens, width) word features at azimuths (B,), between those of front, side and back."""
        around = torch.stack([self.words[view] for view in (FRONT, SIDE, BACK)])
        return torch.einsum("bv,vtw->btw", view_shares(azimuth).to(around), around)
