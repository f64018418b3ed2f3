"""What the catalogue's models are made of, as far as a plan knows their architecture."""

from __future__ import annotations

from dataclasses import dataclass

from dreamcraft3d.errors import UserError
from dreamcraft3d.plan.activations import pass_bytes
from dreamcraft3d.plan.weights import encoder_parameters, parameters, read_config

VAE = "sd-vae"
VAE_CHANNELS = 128


@dataclass(frozen=True)
class Anatomy:
    """A diffusion model's parts.

    Attributes:
        unet: its config's name.
        law: of its activations.
        size: side of the pictures it works on, pixels.
        vae: whether it works on latents, an eighth of that side, instead of pixels.
        words, eyes: configs of its text encoder and image encoder, where it has them.
        beside: parameters of what stands beside the UNet.
    """

    unet: str
    law: str
    size: int
    vae: bool = True
    words: str = ""
    eyes: str = ""
    beside: int = 0

    @property
    def channels(self) -> int:
        """Of the UNet's first block."""
        widths: list[int] = read_config(self.unet).values["block_out_channels"]
        return widths[0]

    def unet_bytes(self, width: int) -> int:
        """The UNet's weights and what stands beside it, ``width`` bytes a number."""
        return width * (parameters(self.unet) + self.beside)

    def encoder_bytes(self, width: int) -> int:
        """The autoencoder's encoder, if there is one: distillation needs no more of it."""
        return width * encoder_parameters(VAE) if self.vae else 0

    def unet_pass(self, how: str, batch: int, half: bool) -> int:
        """One pass of the UNet over ``batch`` inputs, bytes."""
        return pass_bytes(self.law, how, self.channels, self.size // 8 if self.vae else self.size, batch, half)

    def encoder_pass(self, how: str, batch: int, half: bool) -> int:
        """One pass of the encoder over ``batch`` pictures, bytes."""
        return pass_bytes("vae-encoder", how, VAE_CHANNELS, self.size, batch, half) if self.vae else 0


CAMERA_PROJECTION = (768 + 4 + 1) * 768
"""Zero-1-to-3's linear layer from picture and pose to a word, with its bias."""

_T5 = "t5-v1-1-xxl-encoder"
_ZERO123 = Anatomy("zero123-unet", "zero123-unet", 256, eyes="clip-vit-l-14-vision", beside=CAMERA_PROJECTION)
_SD_WORDS = "sd-2-1-base-text-encoder"
ANATOMIES = {
    "deepfloyd-if-xl": Anatomy("if-i-xl-unet", "if-unet", 64, vae=False, words=_T5),
    "deepfloyd-if-l": Anatomy("if-i-l-unet", "if-unet", 64, vae=False, words=_T5),
    "deepfloyd-if-m": Anatomy("if-i-m-unet", "if-unet", 64, vae=False, words=_T5),
    "zero123-xl": _ZERO123,
    "stable-zero123": _ZERO123,
    "stable-zero123-diffusers": _ZERO123,
    "stable-diffusion-2-1-base": Anatomy("sd-2-1-base-unet", "sd-unet", 512, words=_SD_WORDS),
}
MARIGOLD = Anatomy("marigold-unet", "sd-unet", 768, words=_SD_WORDS)


def anatomy(name: str) -> Anatomy:
    """Of a model of the catalogue.

    Raises:
        UserError: a plan does not know how it is made.
    """
    if name not in ANATOMIES:
        raise UserError(f"How much memory {name} needs is not known.", f"Known: {', '.join(ANATOMIES)}.")
    return ANATOMIES[name]
