"""Depth and normals of a single picture, by the small network that ships with the package.

It looks at a square box around the object, brought to 64 x 64. Trained on toy objects by ``training/surface.py``, it
knows objects like those, under the house's light (``render/shading.py``).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dreamcraft3d.errors import UserError

SIZE = 64
MARGIN = 1.1
PATCH = 2
WIDTHS = (32, 64, 128)
DARKEST = 0.05
"""Added to colours before their logarithm."""
NEIGHBOURHOOD = 9
"""Side, in pixels, of the square whose mean brightness a pixel is compared with."""
WEIGHTS = Path(__file__).parents[1] / "priors/embedded_weights/surface"


@dataclass(frozen=True)
class Surface:
    """The visible surface of B pictured objects.

    Attributes:
        depth: (B, S, S, 1) relative depth, 0 the nearest and 1 the farthest point of the object; 0 outside.
        normal: (B, S, S, 3) unit normals in the camera's axes, x right, y up, z toward the camera; 0 outside.
    """

    depth: Tensor
    normal: Tensor


@dataclass(frozen=True)
class Box:
    """A square of pixels, parts of which may lie outside the picture."""

    top: int
    left: int
    side: int

    @staticmethod
    def around(mask: Tensor, margin: float = MARGIN) -> Box:
        """The square about what is inside a mask (S, S, 1), ``margin`` times as large; about everything if nothing is."""
        inside = mask[..., 0] > 0.5
        rows, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
        if not len(rows):
            return Box(0, 0, len(mask))
        (top, bottom), (left, right) = ((int(x[0]), int(x[-1]) + 1) for x in (rows, columns))
        side = math.ceil(margin * max(bottom - top, right - left)) + 1
        return Box((top + bottom - side) // 2, (left + right - side) // 2, side)

    def cut(self, picture: Tensor, fill: float) -> Tensor:
        """(S, S, C) to (side, side, C), ``fill`` where the box leaves the picture."""
        padded = F.pad(picture, (0, 0, *(self.side,) * 4), value=fill)
        return padded.narrow(0, self.top + self.side, self.side).narrow(1, self.left + self.side, self.side)

    def paste(self, patch: Tensor, size: int) -> Tensor:
        """(side, side, C) to (size, size, C), zero outside the box."""
        canvas = patch.new_zeros(size + 2 * self.side, size + 2 * self.side, patch.shape[-1])
        canvas.narrow(0, self.top + self.side, self.side).narrow(1, self.left + self.side, self.side).copy_(patch)
        return canvas[self.side : -self.side, self.side : -self.side]


def resize(picture: Tensor, size: int) -> Tensor:
    """(B, S, S, C) to (B, size, size, C), bilinear, without aliasing."""
    channels_first = picture.permute(0, 3, 1, 2)
    shrinks = picture.shape[1] > size
    return F.interpolate(channels_first, (size, size), mode="bilinear", antialias=shrinks).permute(0, 2, 3, 1)


class _Block(nn.Module):
    """Two 3x3 convolutions around which the input is passed (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SurfaceEstimator(nn.Module):
    """A U-Net over 2x2 patches of an object's picture and mask.

    Args:
        widths: channels at 32 x 32, 16 x 16 and 8 x 8.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = nn.Conv2d(5 * PATCH**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(width) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.middle = nn.Sequential(*(_Block(widths[-1]) for _ in range(3)))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_Block(width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * PATCH**2, 3, padding=1)

    @staticmethod
    def _features(rgb: Tensor, mask: Tensor) -> Tensor:
        """(B, 5, H, W): log colours, in which light adds to albedo; log brightness less its surroundings'; the mask."""
        rgb, mask = rgb.permute(0, 3, 1, 2), mask.permute(0, 3, 1, 2)
        colour = ((rgb + DARKEST).log() + 1) * mask
        brightness = colour.mean(dim=1, keepdim=True)
        both = F.avg_pool2d(torch.cat([brightness, mask], dim=1), NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2)
        contrast = (brightness - both[:, :1] / both[:, 1:].clamp(min=NEIGHBOURHOOD**-2)) * mask
        return torch.cat([colour, mask, 5 * contrast], dim=1)

    def forward(self, rgb: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Depth (B, 64, 64, 1) in sides of the box, known up to a constant, and unit normals (B, 64, 64, 3).

        Args:
            rgb: (B, 64, 64, 3) pictures on white, [0, 1], that the object fills.
            mask: (B, 64, 64, 1) coverage, [0, 1].

        Neither output means anything outside the mask. Differentiable.
        """
        x = self.stem(F.pixel_unshuffle(self._features(rgb, mask), PATCH))
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(x))
            x = shrink(skips[-1])
        x = self.middle(x)
        for block, grow, skip in zip(reversed(self.up), reversed(self.grow), reversed(skips), strict=True):
            x = block(skip + F.interpolate(grow(x), scale_factor=2.0))
        x = F.pixel_shuffle(self.head(F.silu(x)), PATCH).permute(0, 2, 3, 1).float()
        toward_camera = x.new_tensor([0.0, 0.0, 1.0])
        return x[..., :1], F.normalize(x[..., 1:] + toward_camera, dim=-1)

    @torch.no_grad()
    def estimate(self, rgb: Tensor, mask: Tensor) -> Surface:
        """The surface of the masked objects, at the pictures' own size; not differentiable.

        Args:
            rgb: (B, S, S, 3) pictures on white, [0, 1], of any size, with the object anywhere and of any size.
            mask: (B, S, S, 1) coverage, [0, 1]; inside is where it exceeds one half.
        """
        boxes = [Box.around(one) for one in mask]
        small_rgb = torch.cat([resize(box.cut(one, 1.0)[None], SIZE) for box, one in zip(boxes, rgb, strict=True)])
        small = torch.cat([resize(box.cut(one, 0.0)[None], SIZE) for box, one in zip(boxes, mask, strict=True)])
        depth, normal = self(small_rgb, small)
        # Weighting by coverage keeps what the network says outside from leaking in where the answer is enlarged.
        weighted = torch.cat([depth, normal, torch.ones_like(depth)], dim=-1) * small.clamp(min=1e-3)
        size = mask.shape[1]
        pasted = (box.paste(resize(one[None], box.side)[0], size) for box, one in zip(boxes, weighted, strict=True))
        values = torch.stack(list(pasted))
        depth, normal = values[..., :1] / values[..., 4:], F.normalize(values[..., 1:4], dim=-1)
        inside = mask > 0.5
        nearest = depth.masked_fill(~inside, torch.inf).amin(dim=(1, 2, 3), keepdim=True)
        farthest = depth.masked_fill(~inside, -torch.inf).amax(dim=(1, 2, 3), keepdim=True)
        relative = (depth - nearest) / (farthest - nearest).clamp(min=1e-6)
        return Surface(torch.where(inside, relative, 0.0), torch.where(inside, normal, 0.0))

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` in half precision and ``config.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"widths": self.widths}) + "\n")

    @staticmethod
    def load(folder: Path = WEIGHTS) -> SurfaceEstimator:
        """Read what :meth:`save` wrote, in single precision and for evaluation.

        Raises:
            UserError: the folder holds no such model.
        """
        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            raise UserError(f"{folder} holds no depth and normal estimator.", "Train it, or reinstall the package.")
        model = SurfaceEstimator(tuple(json.loads((folder / "config.json").read_text())["widths"]))
        model.load_state_dict({name: value.float() for name, value in load_file(folder / "model.safetensors").items()})
        return model.eval()
