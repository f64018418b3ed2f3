"""The baseline any generator has to beat: look the picture up among the training objects and take the nearest one.

It has flawless meshes and textures, all of them of another object; unless that object has a twin among them, which is
looked for as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dreamcraft3d.picture.framing import FRONT_FILL, FramedPicture, frame
from dreamcraft3d.picture.metrics import mask_iou, psnr
from dreamcraft3d.render.camera import Cameras, half_height
from dreamcraft3d.render.soup import render_views
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.training.objects import Objects

SIZE = 64
RENDERED = 128
TIE = 0.02
TWIN_IOU, TWIN_PSNR = 0.97, 28.0
SIMILAR_IOU = 0.85
"""Looser than for a twin: the small fronts, of which outlines are the larger part, only tell who is worth rendering."""


def in_front_box(mesh: Mesh) -> Mesh:
    """The mesh moved up and sideways, and scaled, so that its front picture is framed as the stages frame theirs.

    The larger side of the front's box spans ``FRONT_FILL`` of the picture, and the box's middle is the picture's. That
    box is of the perspective picture, so it differs by some percent from one measured on the mesh. Forwards and
    backwards the mesh stays where it is.
    """
    vertices = mesh.vertices
    for _ in range(8):  # each brings the box nearer by the object's depth over the camera's distance
        clip = Cameras.at(0.0).clip(vertices)[0]
        picture = clip[:, :2] / clip[:, 3:]  # right is world +y, up is +z
        low, high = picture.amin(dim=0), picture.amax(dim=0)
        y, z = ((low + high) / 2 * half_height()).tolist()
        scale = 2 * FRONT_FILL / (high - low).max()
        vertices = (vertices - torch.tensor([0.0, y, z])) * scale
    return Mesh(vertices, mesh.faces, mesh.colours)


def cut_from_white(rgb: Tensor, mask: Tensor) -> Tensor:
    """(H, W, 4) straight alpha of a picture (H, W, 3) on white with its coverage (H, W, 1)."""
    return torch.cat([((rgb - 1 + mask) / mask.clamp(min=1e-3)).clamp(0, 1), mask], dim=-1)


def front_of(mesh: Mesh, size: int) -> Tensor:
    """The front as an RGBA picture (size, size, 4)."""
    views = render_views(mesh, Cameras.at(0.0), size)
    return cut_from_white(views.rgb[0], views.mask[0])


@dataclass(frozen=True)
class Gallery:
    """The fronts of N training objects, all framed alike.

    Attributes:
        objects: whose fronts they are.
        rgb: (N, 64, 64, 3) on white, [0, 1].
        mask: (N, 64, 64, 1) coverage.
    """

    objects: Objects
    rgb: Tensor
    mask: Tensor

    @staticmethod
    def of(objects: Objects, views: Path | None = None) -> Gallery:
        """Frame the front of every object.

        Args:
            objects: the training split.
            views: folder with the ``rgb.npy`` and ``geometry.npy`` that ``training/views.py`` wrote for these objects;
                without them, or where they are not finished, fronts are rendered.
        """
        shape = (len(objects), SIZE, SIZE)
        rgb, mask = torch.ones(*shape, 3), torch.zeros(*shape, 1)
        paths = [views / f"{name}.npy" for name in ("rgb", "geometry")] if views else []
        cached = [np.load(path, mmap_mode="r") for path in paths if path.is_file()]
        usable = len(cached) == 2 and all(len(file) == len(objects) for file in cached)
        for index in range(len(objects)):
            if usable and cached[0][index, 0].any():
                colour, geometry = (torch.tensor(file[index, 0]).float() / 255 for file in cached)
                front = cut_from_white(colour, geometry[..., :1])
            else:
                front = front_of(objects.mesh(index), RENDERED)
            if front[..., 3].max() > 0.5:  # else it is too thin to be seen from its front, and stays blank
                framed = frame(front, SIZE)
                rgb[index], mask[index] = framed.rgb, framed.mask
        return Gallery(objects, rgb, mask)

    def overlaps(self, mask: Tensor) -> Tensor:
        """(N,) intersection over union of every front with a mask (64, 64, 1)."""
        known, given = (self.mask > 0.5).flatten(1).float(), (mask > 0.5).flatten().float()
        shared = known @ given
        return shared / (known.sum(dim=1) + given.sum() - shared)

    def nearest(self, front: FramedPicture) -> int:
        """The object whose outline overlaps best with that of a front (64 x 64); of those within 0.02 of the best, the
        one most alike in colour (PSNR inside the given outline)."""
        overlaps = self.overlaps(front.mask)
        tied = torch.nonzero(overlaps >= overlaps.max() - TIE).flatten().tolist()
        return max(tied, key=lambda index: psnr(self.rgb[index], front.rgb, front.mask))

    def twins(self, mesh: Mesh) -> list[str]:
        """Ids of the objects that look almost the same as a mesh from three sides, the front among them: all outlines
        overlap by more than 0.97, and inside both outlines PSNR is above 28 dB."""
        cameras = Cameras.ring(3)
        truth = render_views(in_front_box(mesh), cameras, RENDERED)
        front = frame(cut_from_white(truth.rgb[0], truth.mask[0]), SIZE)
        twins = []
        for index in torch.nonzero(self.overlaps(front.mask) > SIMILAR_IOU).flatten().tolist():
            views = render_views(in_front_box(self.objects.mesh(index)), cameras, RENDERED)
            if all(
                mask_iou(views.mask[i], truth.mask[i]) > TWIN_IOU
                and psnr(views.rgb[i], truth.rgb[i], torch.maximum(views.mask[i], truth.mask[i])) > TWIN_PSNR
                for i in range(len(cameras))
            ):
                twins.append(self.objects.ids[index])
        return twins
