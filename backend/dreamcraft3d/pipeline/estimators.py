"""Who looks at the reference picture: cuts it out, puts it into words, tells its depth and normals.

Each by what ships with the package, or by a full-size model where the preset names one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.models.folder import installed_folder
from dreamcraft3d.picture.caption import Captioner
from dreamcraft3d.picture.framing import FramedPicture
from dreamcraft3d.picture.matting import cut_out
from dreamcraft3d.picture.surface import Surface, SurfaceEstimator
from dreamcraft3d.pipeline.config import EMBEDDED, PriorSettings


@dataclass(frozen=True)
class Estimators:
    """Full-size models are loaded where they are asked, and freed; None are the embedded ones' uses.

    Attributes:
        device: where they work.
        half: whether they are bfloat16 on a graphics card; a processor computes in float32.
        matting: an ``.onnx`` file.
        depth, normals: folders; both or none.
        caption: a folder.
    """

    device: torch.device
    half: bool = False
    matting: Path | None = None
    depth: Path | None = None
    normals: Path | None = None
    caption: Path | None = None

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.half and self.device.type != "cpu" else torch.float32

    def cut_out(self, rgba: Tensor) -> Tensor:
        """(H, W, 4) with all but the object transparent.

        Raises:
            UserError: there is no object to be found.
        """
        if self.matting is None:
            return cut_out(rgba)
        from dreamcraft3d.picture.matting_onnx import cut_out_by_network

        return cut_out_by_network(rgba, self.matting, self.device)

    def describe(self, picture: FramedPicture) -> str:
        """Words for a picture: the nearest caption that the embedded priors know, or the full-size model's own."""
        if self.caption is None:
            return Captioner.load().caption(picture)
        from dreamcraft3d.picture.blip import caption_by_blip

        return caption_by_blip(picture, self.caption, self.device, self._dtype)

    def surface(self, picture: FramedPicture, generator: torch.Generator) -> Surface:
        """Depth and normals (1, S, S, C) of what a picture shows, on the device.

        Args:
            generator: of the noise that full-size models begin with.
        """
        rgb, mask = picture.rgb.to(self.device), picture.mask.to(self.device)
        if self.depth is None or self.normals is None:
            return SurfaceEstimator.load().to(self.device).estimate(rgb[None], mask[None])
        from dreamcraft3d.picture.depth_normal import estimate_surface

        return estimate_surface(rgb, mask, self.depth, self.normals, generator, self.device, self._dtype)


def run_estimators(settings: PriorSettings, device: torch.device, half: bool) -> Estimators:
    """Those that a preset names.

    Raises:
        UserError: a model is not on this machine.
    """
    names = {role: getattr(settings, role) for role in ("matting", "depth", "normals", "caption")}
    found = {role: installed_folder(name) for role, name in names.items() if name != EMBEDDED}
    if "matting" in found:
        folder = found["matting"]
        files = sorted(folder.rglob("*.onnx"))
        if not files:
            raise UserError(f"There is no matting network (*.onnx) in {folder}.", "Copy one there.")
        found["matting"] = files[0]
    return Estimators(device, half, **found)
