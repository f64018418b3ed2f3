"""Tiny models of the very classes of the full-size ones, untrained, saved as hubs lay them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    MarigoldDepthPipeline,
    MarigoldNormalsPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)

WIDTH = 16
LATENT_SIZE = 8
PICTURE_SIZE = 16


def save_stable_diffusion(folder: Path, prediction: str = "epsilon") -> None:
    """The parts of Stable Diffusion 2.1: 8x8 latents of 16x16 pictures."""
    torch.manual_seed(0)
    StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=_tokenizer(),
        unet=_unet(),
        scheduler=_scheduler(prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    _lay_out_tokenizers(folder)


def save_stable_diffusion_xl(folder: Path) -> None:
    """The parts of SDXL: two text encoders, sizes beside the timestep."""
    torch.manual_seed(0)
    unet = _unet(
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
    )
    StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=unet,
        scheduler=_scheduler("epsilon"),
    ).save_pretrained(folder)
    _lay_out_tokenizers(folder)


def save_marigold(folder: Path, kind: Literal["depth", "disparity", "normals"]) -> None:
    """Marigold of one kind: it sees the picture's latents beside its own, and one step suffices."""
    torch.manual_seed(1)
    make = MarigoldNormalsPipeline if kind == "normals" else MarigoldDepthPipeline
    make(
        unet=_unet(in_channels=8),
        vae=_vae(),
        scheduler=_scheduler("v_prediction"),
        text_encoder=CLIPTextModel(_text_config()),
        tokenizer=_tokenizer(),
        prediction_type=kind,
        default_denoising_steps=1,
        default_processing_resolution=32,
    ).save_pretrained(folder)
    _lay_out_tokenizers(folder)


def save_depth_anything(folder: Path) -> None:
    """Depth Anything V2 on a DINOv2 of two layers, with its picture processor."""
    torch.manual_seed(2)
    backbone = Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=WIDTH,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
    )
    model = DepthAnythingForDepthEstimation(config)
    for weights in model.parameters():
        weights.data.mul_(5)  # fresh ones are so small that every depth is the same
    model.head.conv3.bias.data.fill_(1.0)  # or the last rectifier lets nothing through
    model.save_pretrained(folder)
    _save_processor(folder, "DPT", size={"height": 28, "width": 28}, ensure_multiple_of=14, keep_aspect_ratio=True)


def save_blip(folder: Path) -> None:
    """BLIP with a vocabulary of a few words, and its processor."""
    torch.manual_seed(3)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "mushroom", "on", "white", "background"]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    text = {
        "vocab_size": len(words) + 1,  # the last, with which a caption begins, is none of the tokenizer's
        "hidden_size": WIDTH,
        "encoder_hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": len(words),
        "eos_token_id": 3,
        "sep_token_id": 3,
    }
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    _save_processor(folder, "Blip", size={"height": 32, "width": 32})


def _lay_out_tokenizers(folder: Path) -> None:
    """Hubs have a vocabulary and merges instead of one file."""
    for tokenizer in folder.glob("tokenizer*"):
        whole = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
        (tokenizer / "vocab.json").write_text(json.dumps(whole["model"]["vocab"]), encoding="utf-8")
        (tokenizer / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        (tokenizer / "tokenizer.json").unlink()


def _save_processor(folder: Path, model: str, **options: object) -> None:
    """Hubs name the processor without its backend."""
    whole = {"image_processor_type": f"{model}ImageProcessor", **options}
    (folder / "preprocessor_config.json").write_text(json.dumps(whole), encoding="utf-8")


def _unet(**changed: object) -> UNet2DConditionModel:
    options: dict[str, object] = {
        "sample_size": LATENT_SIZE,
        "block_out_channels": (WIDTH, 2 * WIDTH),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": (2, 4),
        "use_linear_projection": True,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**options | changed)


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=PICTURE_SIZE,
    )


def _scheduler(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )


def _tokenizer() -> CLIPTokenizer:
    """CLIP's, without merges: a token a letter."""
    letters = sorted(ByteLevel.alphabet())
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[], model_max_length=77)


def save_matting(path: Path, side: int, gain: float, offset: float) -> None:
    """A matting network of one 1x1 convolution: ``gain`` times the red it is shown, plus ``offset``."""
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("weights", TensorProto.FLOAT, (1, 3, 1, 1), (gain, 0.0, 0.0))
    bias = helper.make_tensor("bias", TensorProto.FLOAT, (1,), (offset,))
    picture, mask = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, side, side))
        for name, channels in (("input_image", 3), ("output_image", 1))
    )
    node = helper.make_node("Conv", ["input_image", "weights", "bias"], ["output_image"])
    graph = helper.make_graph([node], "matting", [picture], [mask], [weights, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
