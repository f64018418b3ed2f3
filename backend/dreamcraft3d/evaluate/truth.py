"""What is compared with the truth: an object's pictures from all around, and the scores of one result."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamcraft3d.picture.metrics import mask_iou, psnr, sharpness
from dreamcraft3d.pipeline.config import StageName
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.pipeline.start import load_result
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.mesh import render_mesh
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.shape.mesh import Mesh

SIZE = 256
GREY_LEVELS = 255


@dataclass(frozen=True)
class Pictures:
    """An object at the reference view, and at the eight around it: (9, S, S, 3) on white, and coverage (9, S, S, 1)."""

    rgb: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Scores:
    """One result against the truth; of the eight views, means.

    Attributes:
        reference_psnr: inside the true outline at the reference view, dB.
        reference_iou: of the outlines there.
        silhouette_iou: of the outlines of the eight views.
        novel_psnr: inside either outline in the eight views, dB.
        sharpness: mean gradient inside the eroded outline in the eight views, grey levels of 255 a pixel.
    """

    reference_psnr: float
    reference_iou: float
    silhouette_iou: float
    novel_psnr: float
    sharpness: float

    @staticmethod
    def of(result: Pictures, truth: Pictures) -> Scores:
        pairs = list(zip(result.rgb, result.mask, truth.rgb, truth.mask, strict=True))
        rgb, mask, true_rgb, true_mask = pairs[0]
        return Scores(
            psnr(rgb, true_rgb, true_mask),
            mask_iou(mask, true_mask),
            fmean(mask_iou(mask, true_mask) for _, mask, _, true_mask in pairs[1:]),
            fmean(psnr(rgb, true_rgb, torch.maximum(mask, true_mask)) for rgb, mask, true_rgb, true_mask in pairs[1:]),
            fmean(sharpness(rgb, mask) * GREY_LEVELS for rgb, mask, _, _ in pairs[1:]),
        )


def views() -> Cameras:
    """The reference view, and eight around at 15 degrees."""
    return Cameras.at([0.0] + [45.0 * i for i in range(8)], [0.0] + [15.0] * 8)


def headings() -> list[str]:
    """What stands above the eight views around in a contact sheet: their azimuths."""
    return [f"{azimuth:.0f}°" for azimuth in views().azimuth[1:].tolist()]


def true_pictures(mesh: Mesh) -> Pictures:
    """Of an object as it is: flat-shaded, supersampled."""
    drawn = [render_views(mesh, views()[[i]], SIZE, supersample=4) for i in range(len(views()))]
    return Pictures(torch.cat([d.rgb for d in drawn]), torch.cat([d.mask for d in drawn]))


@torch.no_grad()
def stage_pictures(folder: RunFolder, request: Request, stage: StageName) -> Pictures:
    """Of what ``--until stage`` would export: the stage's mesh with its colours, before they are baked."""
    mesh, albedo = load_result(stage, folder.result(stage), request.preset, torch.device("cpu"))
    drawn = [render_mesh(mesh, views()[[i]], 2 * SIZE, albedo=albedo) for i in range(len(views()))]
    return Pictures(*(halved(torch.cat(pictures)) for pictures in ([d.rgb for d in drawn], [d.mask for d in drawn])))


def halved(pictures: Tensor) -> Tensor:
    """(B, 2S, 2S, C) to (B, S, S, C)."""
    return F.avg_pool2d(pictures.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
