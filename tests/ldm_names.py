"""Models under the names of the original latent diffusion and CLIP code, as Zero-1-to-3 checkpoints have them."""

from __future__ import annotations

import re

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_names(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Its weights; names less ``model.diffusion_model.``."""
    layers = unet.config.layers_per_block
    return {_unet_name(name, layers, unet.config.up_block_types): value for name, value in unet.state_dict().items()}


def _unet_name(name: str, layers: int, up_blocks: tuple[str, ...]) -> str:
    place, leaf = name.rsplit(".", 1)
    if place in _ENDS:
        return f"{_ENDS[place]}.{leaf}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        part, index, rest = match[1], int(match[2]), match[3]
        return f"middle_block.{2 * index if part == 'resnets' else 1}." + _inside(part, rest)
    match = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.+)", name)
    way, block, part, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if part == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op.{leaf}"
    if part == "upsamplers":
        last = (block + 1) * (layers + 1) - 1
        return f"output_blocks.{last}.{2 if 'Attn' in up_blocks[block] else 1}.conv.{leaf}"
    number = block * (layers + 1) + index + (1 if way == "down" else 0)
    side = "input" if way == "down" else "output"
    return f"{side}_blocks.{number}.{1 if part == 'attentions' else 0}.{_inside(part, rest)}"


def _inside(part: str, rest: str) -> str:
    first, _, last = rest.partition(".")
    return f"{_RESNET[first]}.{last}" if part == "resnets" else rest


def vae_names(vae: AutoencoderKL) -> dict[str, Tensor]:
    """Its weights; names less ``first_stage_model.``; attention by 1 x 1 convolutions."""
    blocks = len(vae.config.down_block_types)
    return dict(_vae_entry(name, value, blocks) for name, value in vae.state_dict().items())


def _vae_entry(name: str, value: Tensor, blocks: int) -> tuple[str, Tensor]:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)
    if "mid_block.attentions.0." in name:
        before, inside = name.split("mid_block.attentions.0.")
        layer, leaf = inside.rsplit(".", 1)
        name = f"{before}mid.attn_1.{_VAE_ATTENTION[layer]}.{leaf}"
        if value.ndim == 2:
            value = value[:, :, None, None]
    return name, value


class ClipTower(nn.Module):
    """CLIP's picture tower as OpenAI built it: pictures (B, 3, H, W), normalised, to embeddings (B, projection)."""

    def __init__(self, width: int, heads: int, layers: int, size: int, patch: int, projection: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, projection))

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.conv1(pictures).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        tokens = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        for block in self.transformer.resblocks:
            tokens = block(tokens)
        return self.ln_post(tokens[:, 0]) @ self.proj


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        inner = self.ln_1(tokens)
        tokens = tokens + self.attn(inner, inner, inner, need_weights=False)[0]
        hidden = self.mlp.c_fc(self.ln_2(tokens))
        return tokens + self.mlp.c_proj(hidden * torch.sigmoid(1.702 * hidden))
