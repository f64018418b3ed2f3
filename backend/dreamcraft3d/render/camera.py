"""Cameras that look at the origin: right-handed world, z up, +x front; azimuth from +x toward +y."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DISTANCE = 3.8  # paper set-up: the reference camera's distance and field of view
FOVY = 20.0
NEAR, FAR = 0.1, 100.0


def half_height(distance: float = DISTANCE, fovy: float = FOVY) -> float:
    """World units from the picture's centre to its edge, in the plane through the origin."""
    return distance * math.tan(math.radians(fovy) / 2)


@dataclass(frozen=True)
class Cameras:
    """A batch of B pinhole cameras with square pictures, looking at the origin.

    Attributes:
        azimuth: (B,) degrees; 0 looks at the object's front (from +x), 90 from +y.
        elevation: (B,) degrees above the horizon.
        distance: world units from the origin.
        fovy: vertical field of view, degrees.
    """

    azimuth: Tensor
    elevation: Tensor
    distance: float = DISTANCE
    fovy: float = FOVY

    def __len__(self) -> int:
        return len(self.azimuth)

    @staticmethod
    def at(azimuth: float | list[float], elevation: float | list[float] = 0.0) -> Cameras:
        """Cameras at the given angles (degrees); a single elevation serves all azimuths."""
        azimuths = torch.atleast_1d(torch.tensor(azimuth, dtype=torch.float32))
        elevations = torch.atleast_1d(torch.tensor(elevation, dtype=torch.float32))
        return Cameras(azimuths, elevations.expand(len(azimuths)).clone())

    @staticmethod
    def ring(count: int, elevation: float = 0.0) -> Cameras:
        """``count`` cameras evenly around the object, the first at its front."""
        return Cameras(torch.arange(count) * (360.0 / count), torch.full((count,), float(elevation)))

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(self.azimuth.to(device), self.elevation.to(device), self.distance, self.fovy)

    def __getitem__(self, index: slice | Tensor | list[int]) -> Cameras:
        return Cameras(self.azimuth[index], self.elevation[index], self.distance, self.fovy)

    @property
    def position(self) -> Tensor:
        """(B, 3) camera centres: d (cos e cos a, cos e sin a, sin e)."""
        a, e = torch.deg2rad(self.azimuth), torch.deg2rad(self.elevation)
        return self.distance * torch.stack([e.cos() * a.cos(), e.cos() * a.sin(), e.sin()], dim=-1)

    @property
    def c2w(self) -> Tensor:
        """(B, 4, 4) camera to world; columns right, up, -lookat, centre (OpenGL: looks down -z)."""
        a, e = torch.deg2rad(self.azimuth), torch.deg2rad(self.elevation)
        backward = self.position / self.distance
        right = torch.stack([-a.sin(), a.cos(), torch.zeros_like(a)], dim=-1)
        up = torch.stack([-e.sin() * a.cos(), -e.sin() * a.sin(), e.cos()], dim=-1)
        c2w = torch.eye(4, device=a.device).repeat(len(a), 1, 1)
        c2w[:, :3] = torch.stack([right, up, backward, self.position], dim=-1)
        return c2w

    @property
    def projection(self) -> Tensor:
        """(4, 4) OpenGL perspective projection of a square picture; ndc y points up."""
        f = 1 / math.tan(math.radians(self.fovy) / 2)
        depth, offset = (FAR + NEAR) / (NEAR - FAR), 2 * FAR * NEAR / (NEAR - FAR)
        return torch.tensor([[f, 0, 0, 0], [0, f, 0, 0], [0, 0, depth, offset], [0, 0, -1, 0]])

    @property
    def mvp(self) -> Tensor:
        """(B, 4, 4) world to clip space."""
        c2w = self.c2w
        rotation = c2w[:, :3, :3].transpose(1, 2)
        w2c = torch.eye(4, device=c2w.device).repeat(len(c2w), 1, 1)
        w2c[:, :3, :3] = rotation
        w2c[:, :3, 3] = -(rotation @ c2w[:, :3, 3:]).squeeze(-1)
        return self.projection.to(c2w) @ w2c

    def clip(self, points: Tensor) -> Tensor:
        """World points (V, 3) to clip space (B, V, 4), differentiable."""
        mvp = self.mvp
        return points @ mvp[:, :, :3].transpose(1, 2) + mvp[:, None, :, 3]

    def rays(self, size: int) -> tuple[Tensor, Tensor]:
        """Rays through the pixel centres of a ``size`` x ``size`` picture.

        Returns:
            origins and unit directions, each (B, size, size, 3); row 0 is the top.
        """
        c2w = self.c2w
        focal = 0.5 * size / math.tan(math.radians(self.fovy) / 2)
        pixel = torch.arange(size, device=c2w.device, dtype=torch.float32) + 0.5 - size / 2
        y, x = torch.meshgrid(-pixel / focal, pixel / focal, indexing="ij")
        local = torch.stack([x, y, -torch.ones_like(x)], dim=-1)
        local = local / local.norm(dim=-1, keepdim=True)
        directions = torch.einsum("bij,hwj->bhwi", c2w[:, :3, :3], local)
        origins = c2w[:, None, None, :3, 3].expand_as(directions)
        return origins, directions


def relative_azimuth(azimuth: Tensor) -> Tensor:
    """Azimuths folded into [-180, 180) degrees."""
    return (azimuth + 180) % 360 - 180
