"""Words for any picture, by BLIP (Li et al., ICML 2022)."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers.training_utils import free_memory
from safetensors import SafetensorError
from transformers import AutoImageProcessor, AutoTokenizer, BlipForConditionalGeneration

from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.priors.model_folder import broken, require_parts

MAX_WORD_PIECES = 30
_BACKGROUND = re.compile(
    r",? (on|with|against|in front of|over) (a|the) ((plain|pure|solid) )?white (background|backdrop|surface)$"
)
"""What a caption says of the white on which every reference picture stands."""


@torch.no_grad()
def caption_by_blip(
    picture: FramedPicture, folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> str:
    """A caption of a framed picture such as "a red and white mushroom"; the model is freed.

    Args:
        folder: of a ``BlipForConditionalGeneration`` and its processor, in the transformers layout.

    Raises:
        UserError: a part of the model is missing or broken.
    """
    require_parts(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        model = BlipForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, SafetensorError) as error:
        raise broken(folder, error) from error
    try:
        pixels = processor((picture.rgb.cpu().numpy() * 255).round().astype("uint8"), return_tensors="pt").pixel_values
        words = (
            model.to(device)
            .eval()
            .generate(pixel_values=pixels.to(device, dtype), num_beams=3, max_new_tokens=MAX_WORD_PIECES)
        )
    finally:
        del model
        free_memory()
    return without_background(tokenizer.decode(words[0], skip_special_tokens=True))


def without_background(caption: str) -> str:
    """A caption less its last words about the white background: "a mushroom on a white background" is "a mushroom"."""
    return _BACKGROUND.sub("", caption.strip())
