"""Training of the depth and normal estimator (``picture/surface.py``) on the rendered views.

    python -m dreamcraft3d.training.surface --objects FOLDER [--init WEIGHTS] [--steps N]

The loss is the distance between unit normals in the camera's axes, and L1 on depth less its mean and on its differences
over 1 to 8 pixels. Convolutions learn by Muon (Jordan et al., 2024; torch 2.9 or later), which needs several times fewer
pictures here than AdamW does; all else by AdamW. The best weights go to ``surface/`` in the cache, beside a log
(``surface.jsonl``) whose first record is the baseline; stopped, it goes on where it was. It ends by itself when the
validation loss has not improved for ``--patience`` evaluations.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import typer
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from dreamcraft3d.picture.surface import MARGIN, SIZE, Box, SurfaceEstimator, resize
from dreamcraft3d.render.camera import Cameras, half_height
from dreamcraft3d.training.captions import CHANNEL_ORDERS
from dreamcraft3d.training.views import CACHE, CacheOption, ObjectsOption
from dreamcraft3d.training.views import main as render

BATCH = 32
WARMUP = 30
DEPTH_WEIGHT = 2.0
STRIDES = (1, 2, 4, 8)


@dataclass(frozen=True)
class SurfaceBatch:
    """B boxes around objects and their surfaces, each (B, H, W, C).

    Attributes:
        rgb: pictures on white, [0, 1].
        mask: coverage, [0, 1].
        normal: unit normals in the camera's axes (x right, y up, z toward the camera), meaningless outside.
        depth: sides of the box along the camera's axis, far = large, meaningless outside.
    """

    rgb: Tensor
    mask: Tensor
    normal: Tensor
    depth: Tensor


class SurfacePictures:
    """The views of one split that come with their geometry (``training/views.py``)."""

    def __init__(self, cache: Path, split: str) -> None:
        folder = cache / "views" / split
        self.rgb = np.load(folder / "rgb.npy", mmap_mode="r")
        self.geometry = np.load(folder / "geometry.npy", mmap_mode="r")
        self.cameras = np.array(np.load(folder / "cameras.npy", mmap_mode="r"))

    def __len__(self) -> int:
        return len(self.rgb)

    def _boxed(self, index: int, view: int, rng: np.random.Generator | None) -> Tensor:
        """(64, 64, 8) colour, coverage, world normal and depth in a box around the object, askew if there is an rng."""
        rgb = torch.from_numpy(np.array(self.rgb[index, view])).float() / 255
        geometry = torch.from_numpy(np.array(self.geometry[index, view])).float() / 255
        box = Box.around(geometry[..., :1], rng.uniform(1.02, 1.3) if rng else MARGIN)
        if rng:
            slack = box.side * (1 - 1 / MARGIN) / 2
            top, left = (round(corner + rng.uniform(-slack, slack)) for corner in (box.top, box.left))
            box = Box(top, left, box.side)
        seen = [resize(box.cut(rgb, 1.0)[None], SIZE), resize(box.cut(geometry[..., :1], 0.0)[None], SIZE)]
        # The nearest pixel's: across an edge, a mean of normals or depths is neither side's.
        shape = F.interpolate(box.cut(geometry[..., 1:], 0.5).permute(2, 0, 1)[None], SIZE, mode="nearest-exact")
        shape = (shape.permute(0, 2, 3, 1) * 2 - 1) / shape.new_tensor(
            [1, 1, 1, 2 * half_height() * box.side / len(rgb)]
        )
        return torch.cat([*seen, shape], dim=-1)[0]

    def views(self, objects: np.ndarray, views: np.ndarray, rng: np.random.Generator | None = None) -> SurfaceBatch:
        """The given views of the given objects, both (B,); in boxes askew if there is an rng."""
        boxes = torch.stack([self._boxed(int(i), int(v), rng) for i, v in zip(objects, views, strict=True)])
        rgb, mask, normal, depth = boxes.split([3, 1, 3, 1], dim=-1)
        azimuth, elevation = torch.from_numpy(self.cameras[objects, views]).unbind(dim=-1)
        normal = torch.einsum("bji,bhwj->bhwi", Cameras(azimuth, elevation).c2w[:, :3, :3], normal)
        return SurfaceBatch(rgb, mask, F.normalize(normal, dim=-1), depth)

    def batch(self, size: int, rng: np.random.Generator) -> SurfaceBatch:
        """Random augmented views, half of them fronts."""
        views = rng.integers(1, self.geometry.shape[1], size=size) * (rng.random(size) < 0.5)
        return augment(self.views(rng.integers(len(self), size=size), views, rng), rng)


def augment(batch: SurfaceBatch, rng: np.random.Generator) -> SurfaceBatch:
    """Swap colour channels, change gamma and brightness, add noise, mirror; the background stays white."""
    count = len(batch.rgb)

    def draw(low: float, high: float) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32))

    order = torch.tensor(CHANNEL_ORDERS)[torch.from_numpy(rng.integers(len(CHANNEL_ORDERS), size=count))]
    colour = ((batch.rgb - (1 - batch.mask)) / batch.mask.clamp(min=1e-3)).clamp(0, 1)
    colour = colour.gather(-1, order[:, None, None].expand_as(colour))
    colour = colour ** draw(0.85, 1.2) * draw(0.75, 1.1)
    colour = colour + draw(-0.01, 0.01) * torch.from_numpy(rng.standard_normal(colour.shape, np.float32))
    rgb = colour.clamp(0, 1) * batch.mask + (1 - batch.mask)
    mirrored = draw(-1, 1) < 0
    flipped = SurfaceBatch(
        rgb.flip(2), batch.mask.flip(2), batch.normal.flip(2) * rgb.new_tensor([-1, 1, 1]), batch.depth.flip(2)
    )
    return SurfaceBatch(
        torch.where(mirrored, flipped.rgb, rgb),
        torch.where(mirrored, flipped.mask, batch.mask),
        torch.where(mirrored, flipped.normal, batch.normal),
        torch.where(mirrored, flipped.depth, batch.depth),
    )


def _mean_inside(values: Tensor, inside: Tensor) -> Tensor:
    """(B, 1, 1, 1) means of (B, H, W, 1) where ``inside`` (0 or 1) is 1."""
    dims = (1, 2, 3)
    return (values * inside).sum(dims, keepdim=True) / inside.sum(dims, keepdim=True).clamp(min=1)


def _inside(mask: Tensor) -> Tensor:
    return (mask > 0.5).float()


def _eroded(mask: Tensor) -> Tensor:
    """The mask's inside less the pixels at its edge, where one pixel averages several surfaces."""
    return -F.max_pool2d(-_inside(mask).permute(0, 3, 1, 2), 3, stride=1, padding=1).permute(0, 2, 3, 1)


def loss_of(depth: Tensor, normal: Tensor, truth: SurfaceBatch) -> Tensor:
    """Mean loss over all pixels inside of estimates (B, H, W, 1) and (B, H, W, 3)."""

    def mean(values: Tensor, where: Tensor) -> Tensor:
        return (values * where).sum() / where.sum().clamp(min=1)

    # The distance, not 1 - cosine: small angles count in proportion, and steep edges do not drown them.
    distance = ((normal - truth.normal).square().sum(dim=-1, keepdim=True) + 1e-4).sqrt()
    inside = _inside(truth.mask)
    error = depth - truth.depth
    depth_loss = mean((error - _mean_inside(error, inside)).abs(), inside)
    for stride in STRIDES:
        for dim in (1, 2):
            length = error.shape[dim] - stride
            difference = error.narrow(dim, stride, length) - error.narrow(dim, 0, length)
            both = inside.narrow(dim, stride, length) * inside.narrow(dim, 0, length)
            depth_loss = depth_loss + mean(difference.abs(), both) / (2 * len(STRIDES))
    return mean(distance, _eroded(truth.mask)) + DEPTH_WEIGHT * depth_loss


@dataclass(frozen=True)
class Scores:
    """How good estimates are, mean over pictures: degrees between normals, Pearson correlation of depth."""

    angle: float
    correlation: float


def scores_of(depth: Tensor, normal: Tensor, truth: SurfaceBatch) -> Scores:
    """Compare estimates with the truth inside the mask, normals one pixel inside it."""
    cosine = (normal * truth.normal).sum(dim=-1, keepdim=True).clamp(-1, 1)
    angle = _mean_inside(torch.rad2deg(cosine.acos()), _eroded(truth.mask))
    inside = _inside(truth.mask)
    a, b = ((x - _mean_inside(x, inside)) * inside for x in (depth, truth.depth))
    norms = a.square().sum((1, 2, 3)) * b.square().sum((1, 2, 3))
    correlation = (a * b).sum((1, 2, 3)) / norms.clamp(min=1e-12).sqrt()
    return Scores(angle.mean().item(), correlation.mean().item())


def baseline(mask: Tensor) -> tuple[Tensor, Tensor]:
    """What a mask (B, H, W, 1) alone suggests: a silhouette inflated to a round cushion, every normal to the camera."""
    distance = np.stack([cv2.distanceTransform(m, cv2.DIST_L2, 5) for m in _inside(mask)[..., 0].byte().numpy()])
    depth = -torch.from_numpy(distance).sqrt()[..., None]
    return depth, torch.tensor([0.0, 0.0, 1.0]).expand(*mask.shape[:3], 3)


@torch.no_grad()
def validate(model: SurfaceEstimator, fronts: SurfaceBatch) -> tuple[float, Scores]:
    """Loss and scores on unaugmented pictures."""
    parts = [model(rgb, mask) for rgb, mask in zip(fronts.rgb.split(BATCH), fronts.mask.split(BATCH), strict=True)]
    depth, normal = (torch.cat(part) for part in zip(*parts, strict=True))
    return loss_of(depth, normal, fronts).item(), scores_of(depth, normal, fronts)


class MuonAdamW:
    """Muon for the convolutions inside a network, AdamW for its first and last ones, norms and biases.

    Args:
        model: the network.
        lr: Muon's learning rate; AdamW's is a tenth of it.
    """

    def __init__(self, model: SurfaceEstimator, lr: float) -> None:
        outer = {model.stem.weight, model.head.weight}
        self.filters = [p for p in model.parameters() if p.ndim == 4 and p not in outer]
        chosen = set(self.filters)
        # Muon takes matrices: these share the filters' memory.
        self.matrices = [nn.Parameter(p.data.flatten(1)) for p in self.filters]
        self.muon = torch.optim.Muon(self.matrices, lr=lr)
        self.adamw = torch.optim.AdamW([p for p in model.parameters() if p not in chosen], lr=lr / 10, fused=True)
        self.lr = lr

    def step(self, factor: float) -> None:
        """Use and clear the gradients, at ``factor`` times the learning rates."""
        for matrix, p in zip(self.matrices, self.filters, strict=True):
            matrix.grad = None if p.grad is None else p.grad.flatten(1)
            p.grad = None
        self.muon.param_groups[0]["lr"] = self.lr * factor
        self.adamw.param_groups[0]["lr"] = self.lr / 10 * factor
        self.muon.step()
        self.adamw.step()
        self.adamw.zero_grad()

    def state_dict(self) -> dict[str, dict]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def _log(path: Path, record: dict[str, float]) -> None:
    with path.open("a") as log:
        log.write(json.dumps(record) + "\n")


def main(
    objects: ObjectsOption,
    cache: CacheOption = CACHE,
    init: Annotated[Path | None, typer.Option(help="Start from these weights (a folder that this wrote).")] = None,
    steps: int = 2400,
    lr: float = 0.015,
    every: Annotated[int, typer.Option(help="Steps between evaluations.")] = 200,
    patience: int = 6,
    bf16: Annotated[bool, typer.Option(help="Multiply in bfloat16: twice as fast where the processor can.")] = False,
    seed: int = 0,
) -> None:
    """Train the embedded depth and normal estimator; renders the pictures first where there are none."""
    if not (cache / "views/train/rgb.npy").exists():
        render(objects, cache)
    train, val = SurfacePictures(cache, "train"), SurfacePictures(cache, "val")
    fronts = val.views(np.arange(len(val)), np.zeros(len(val), dtype=int))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    checkpoint, log = cache / "surface.pt", cache / "surface.jsonl"
    model = SurfaceEstimator.load(init).train() if init else SurfaceEstimator()
    parameters = list(model.parameters())
    optimizer = MuonAdamW(model, lr)
    average = EMAModel(parameters, decay=0.998, use_ema_warmup=True, power=0.75)
    step, best, stale = 0, float("inf"), 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        step, best, stale = state["step"], state["best"], state["stale"]
        rng = np.random.default_rng(seed + step)
    else:
        plain = scores_of(*baseline(fronts.mask), fronts)
        _log(log, {"baseline angle": plain.angle, "baseline correlation": plain.correlation})
    started, running = time.time(), []
    while step < steps and stale < patience:
        batch = train.batch(BATCH, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            depth, normal = model(batch.rgb, batch.mask)
        loss = loss_of(depth, normal, batch)
        loss.backward()
        optimizer.step(min((step + 1) / WARMUP, 1 - 0.98 * step / steps))
        average.step(parameters)
        running.append(loss.item())
        step += 1
        if step % every == 0 or step == steps:
            average.store(parameters)
            average.copy_to(parameters)
            loss_val, scores = validate(model, fronts)
            stale = 0 if loss_val < best else stale + 1
            if loss_val < best:
                best = loss_val
                model.save(cache / "surface")
            average.restore(parameters)
            record = {"step": step, "train": float(np.mean(running)), "val": loss_val, "angle": scores.angle}
            _log(log, record | {"correlation": scores.correlation, "seconds": round(time.time() - started, 1)})
            running = []
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state_dict()}
            torch.save(state | {"step": step, "best": best, "stale": stale}, checkpoint.with_suffix(".tmp"))
            os.replace(checkpoint.with_suffix(".tmp"), checkpoint)


if __name__ == "__main__":
    typer.run(main)
