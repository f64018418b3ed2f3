"""Folders of DeepFloyd IF and Zero-1-to-3 in little: the real classes and layout, a few thousand weights drawn at random."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, T5Config, T5EncoderModel, T5TokenizerFast

from dreamcraft3d.priors.zero123 import CCProjection, CLIPCameraProjection, Zero123Kind
from dreamcraft3d.priors.zero123_checkpoint import Shapes

TEXT_WIDTH = 32
CLIP_WIDTH = 24
LETTERS = "abcdefghijklmnopqrstuvwxyz,"

TINY_ZERO123 = Shapes(
    unet={
        "sample_size": 32,
        "in_channels": 8,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 2,
        "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 2,
        "cross_attention_dim": CLIP_WIDTH,
    },
    vae={
        "sample_size": 256,
        "latent_channels": 4,
        "block_out_channels": (8, 8, 8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.18215,
    },
    clip={
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "projection_dim": CLIP_WIDTH,
        "hidden_act": "quick_gelu",
    },
)


def t5_tokenizer() -> T5TokenizerFast:
    """A T5 tokenizer that knows letters only."""
    scores = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")] + [(each, -3.0) for each in "\u2581" + LETTERS]
    return T5TokenizerFast(vocab=scores, extra_ids=0)


def save_deepfloyd(folder: Path, seed: int = 0) -> Path:
    """A folder like IF-I's: unet, scheduler, text_encoder, tokenizer."""
    torch.manual_seed(seed)
    UNet2DConditionModel(
        sample_size=64,
        in_channels=3,
        out_channels=6,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=32,
        encoder_hid_dim=TEXT_WIDTH,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    ).save_pretrained(folder / "unet")
    DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True).save_pretrained(
        folder / "scheduler"
    )
    save_t5(folder)
    return folder


def save_t5(folder: Path) -> None:
    """The text half of the above."""
    tokenizer = t5_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")


def save_zero123(folder: Path, kind: Zero123Kind | None, projection: str = "clip_camera_projection") -> Path:
    """A folder of either model, with ``zero123.json`` if its kind is given; the weights are the same for both."""
    torch.manual_seed(0)
    shapes = TINY_ZERO123
    UNet2DConditionModel(**shapes.unet).save_pretrained(folder / "unet")
    AutoencoderKL(**shapes.vae).save_pretrained(folder / "vae")
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**shapes.clip, initializer_factor=4.0))
    clip.save_pretrained(folder / "image_encoder")
    known = {"clip_camera_projection": CLIPCameraProjection(CLIP_WIDTH), "cc_projection": CCProjection(28, 24)}
    known[projection].save_pretrained(folder / projection)
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    if kind:
        (folder / "zero123.json").write_text(json.dumps({"kind": kind}))
    return folder
