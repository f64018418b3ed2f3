"""One fixed light for everything: the priors' training pictures, the volume renderer and the mesh renderer.

A headlight, a sky and an ambient part, applied to display-space (sRGB) colours. Because the pictures the priors learnt
are shaded by this rule and so are the renders they judge, what is optimised underneath is unshaded albedo.
"""

from __future__ import annotations

from torch import Tensor

AMBIENT, HEAD, SKY = 0.50, 0.32, 0.18


def light(normal: Tensor, toward_camera: Tensor) -> Tensor:
    """Brightness in (0, 1] of a surface.

    Args:
        normal: (..., 3) unit normals, world space.
        toward_camera: (..., 3) unit vectors from the surface to the camera.

    Returns:
        (..., 1): 0.50 + 0.32 max(0, n.v) + 0.18 (1 + n_z) / 2.
    """
    facing = (normal * toward_camera).sum(dim=-1, keepdim=True).clamp(min=0)
    return AMBIENT + HEAD * facing + SKY * (1 + normal[..., 2:]) / 2
