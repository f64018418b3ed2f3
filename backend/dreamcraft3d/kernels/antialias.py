"""Antialiasing of silhouettes: the only gradient that visibility has.

After Laine et al., "Modular Primitives for High-Performance Differentiable Rendering" (2020), section 3.6. Between two
neighbouring pixels that see different surfaces, the nearer surface ends at a silhouette edge; where that edge crosses
the line from one pixel's centre to the other's says how much of the two pixels it covers, and their colours are
blended accordingly. Which edges and which pixels is a discrete question, answered by a kernel; how much is a smooth
one, answered in torch from the edges' clip positions, so that autograd has the gradients.

Two things differ from the paper. The edge is looked for by walking over the mesh from the nearer pixel's triangle
toward the other pixel, so it is also found where triangles are smaller than pixels. And an edge is left to the pairs
that lie across it (horizontal pairs for steep edges, vertical ones for flat edges): moving an edge of length L by d
then changes the covered area by d * L at any angle, where both kinds of pairs together would count it up to twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from dreamcraft3d.kernels import launch_device, nvdiffrast_context
from dreamcraft3d.kernels.rasterize import cross, to_pixels

_FREE = -1
MAX_STEPS = 64  # triangles walked between two pixel centres


@dataclass(frozen=True)
class Topology:
    """A mesh's faces and who their neighbours are; independent of where its vertices are.

    Attributes:
        faces: (F, 3) int32 vertex indices.
        neighbours: (F, 3) int32; entry k is the face on the other side of the edge opposite corner k, -1 where there is
            none, and where more than two faces share the edge.
    """

    faces: Tensor
    neighbours: Tensor

    @staticmethod
    def build(faces: Tensor) -> Topology:
        """From (F, 3) vertex indices. Edges are matched in a hash table, several times faster than sorting them."""
        indices = faces.to(torch.int32).contiguous()
        neighbours = torch.full_like(indices, -1)
        slots = 1 << max(6 * len(faces), 1).bit_length()
        edge_in_slot = torch.full((slots,), _FREE, dtype=torch.int64, device=faces.device)
        # of each edge: the number of its sides, the first and the last of them
        sides = torch.tensor([0, 3 * len(faces), -1], dtype=torch.int32, device=faces.device).repeat(slots, 1)
        slot_of_side = torch.empty_like(indices)
        arrays = [wp.from_torch(t) for t in (indices, edge_in_slot, sides, slot_of_side, neighbours)]
        for kernel in (_enter_edges, _match_edges):
            wp.launch(kernel, dim=indices.shape, inputs=arrays, device=launch_device(faces.device))
        return Topology(indices, neighbours)


@wp.kernel(enable_backward=False)
def _enter_edges(
    faces: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    edge_in_slot: wp.array(dtype=wp.int64),  # type: ignore[valid-type]
    sides: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    slot_of_side: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    neighbours: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
) -> None:
    face, corner = wp.tid()  # type: ignore[misc]
    i = faces[face, (corner + 1) % 3]
    j = faces[face, (corner + 2) % 3]
    edge = (wp.int64(wp.min(i, j)) << wp.int64(32)) | wp.int64(wp.max(i, j))
    mask = edge_in_slot.shape[0] - 1
    # neighbouring vertex numbers land in neighbouring slots, which is kind to the cache
    slot = (wp.min(i, j) * 6 + wp.max(i, j)) & mask
    found = wp.atomic_cas(edge_in_slot, slot, wp.int64(_FREE), edge)
    while found != wp.int64(_FREE) and found != edge:
        slot = (slot + 1) & mask
        found = wp.atomic_cas(edge_in_slot, slot, wp.int64(_FREE), edge)
    slot_of_side[face, corner] = slot
    wp.atomic_add(sides, slot, 0, 1)
    wp.atomic_min(sides, slot, 1, 3 * face + corner)
    wp.atomic_max(sides, slot, 2, 3 * face + corner)


@wp.kernel(enable_backward=False)
def _match_edges(
    faces: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    edge_in_slot: wp.array(dtype=wp.int64),  # type: ignore[valid-type]
    sides: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    slot_of_side: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    neighbours: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
) -> None:
    face, corner = wp.tid()  # type: ignore[misc]
    slot = slot_of_side[face, corner]
    if sides[slot, 0] == 2:
        neighbours[face, corner] = (sides[slot, 1] + sides[slot, 2] - 3 * face - corner) / 3


@wp.func
def _place(position: wp.vec4, near: int, vertical: bool, direction: float, height: int, width: int) -> wp.vec2:
    """A vertex from a pixel's centre, in pixels: how far along a direction (its neighbour is at 1) and aside."""
    p = to_pixels(position, height, width)
    x = p[0] - float(near % width) - 0.5
    y = p[1] - float(near / width % height) - 0.5
    if vertical:
        return wp.vec2(y * direction, x)
    return wp.vec2(x * direction, y)


@wp.func
def _crossing(p: wp.vec2, q: wp.vec2) -> float:
    """Where the line from pixel to pixel meets the edge from p to q; very far back if it passes by."""
    if (p[1] >= 0.0) == (q[1] >= 0.0):
        return -1.0e30
    return (p[0] * q[1] - q[0] * p[1]) / (q[1] - p[1])


@wp.kernel(enable_backward=False)
def _find_edges(
    pairs: wp.array2d(dtype=wp.int64),  # type: ignore[valid-type]
    ids: wp.array(dtype=wp.int32),  # type: ignore[valid-type]
    height: int,
    width: int,
    clip: wp.array2d(dtype=wp.vec4),  # type: ignore[valid-type]
    faces: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    neighbours: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
    edges: wp.array2d(dtype=wp.int32),  # type: ignore[valid-type]
) -> None:
    pair = wp.tid()
    near = int(pairs[pair, 0])
    step = int(pairs[pair, 1]) - near
    vertical = wp.abs(step) == width
    direction = float(wp.sign(step))
    batch = near / (height * width)
    face = ids[near]
    if face < 0:
        return
    # turn the first triangle so that the line leaves it through the side from i to j, opposite its corner k
    i = faces[face, 0]
    j = faces[face, 1]
    k = faces[face, 2]
    if clip[batch, i][3] <= 0.0 or clip[batch, j][3] <= 0.0 or clip[batch, k][3] <= 0.0:
        return
    p = _place(clip[batch, i], near, vertical, direction, height, width)
    q = _place(clip[batch, j], near, vertical, direction, height, width)
    r = _place(clip[batch, k], near, vertical, direction, height, width)
    crossing = _crossing(p, q)
    beyond = neighbours[face, 2]
    others = wp.vec2(_crossing(q, r), _crossing(r, p))
    if others[0] > crossing and others[0] >= others[1]:
        crossing = others[0]
        beyond = neighbours[face, 0]
        i, j, k = j, k, i
        p, q, r = q, r, p
    elif others[1] > crossing:
        crossing = others[1]
        beyond = neighbours[face, 1]
        i, j, k = k, i, j
        p, q, r = r, p, q

    for _step in range(MAX_STEPS):
        if crossing < -1.0 or crossing > 1.0:
            return
        side = q - p
        folds = wp.bool(True)
        o = wp.int32(-1)
        s = r
        if beyond >= 0:
            o = faces[beyond, 0] + faces[beyond, 1] + faces[beyond, 2] - i - j
            if clip[batch, o][3] <= 0.0:
                return
            s = _place(clip[batch, o], near, vertical, direction, height, width)
            folds = cross(side, r - p) * cross(side, s - p) >= 0.0
        if folds:
            # along and across: an edge at exactly 45 degrees belongs to horizontal pairs
            aside = wp.abs(side[1]) - wp.abs(side[0])
            if aside > 0.0 or (aside == 0.0 and not vertical):
                edges[pair, 0] = i
                edges[pair, 1] = j
            return
        # into the triangle beyond, which the line leaves through the side between o and the corner across from it
        if (s[1] >= 0.0) == (p[1] >= 0.0):
            k, i = i, o
            r, p = p, s
        else:
            k, j = j, o
            r, q = q, s
        corner = wp.int32(0)
        if faces[beyond, 1] == k:
            corner = 1
        elif faces[beyond, 2] == k:
            corner = 2
        beyond = neighbours[beyond, corner]
        crossing = _crossing(p, q)


@dataclass(frozen=True)
class Silhouettes:
    """The N places where a silhouette runs between two neighbouring pixels.

    Attributes:
        near: (N,) int64 flat index into B*H*W of the pixel that sees the surface which ends there.
        far: (N,) int64 its neighbour, which sees something else.
        edges: (N, 2) int64 vertices of the edge, which crosses the line between the two pixels' centres.
    """

    near: Tensor
    far: Tensor
    edges: Tensor


def find_silhouettes(ids: Tensor, depth: Tensor, clip: Tensor, topology: Topology) -> Silhouettes:
    """Find the silhouette edges between neighbouring pixels. Not differentiable.

    Args:
        ids, depth: (B, H, W), as ``rasterize_ids`` returns them.
        clip: (B, V, 4) clip-space positions.
        topology: of the mesh drawn.
    """
    _, height, width = ids.shape
    pairs = neighbouring_pairs(ids, depth)
    edges = torch.full((len(pairs), 2), -1, dtype=torch.int32, device=ids.device)
    inputs = [
        wp.from_torch(pairs),
        wp.from_torch(ids.reshape(-1).contiguous()),
        height,
        width,
        wp.from_torch(clip.detach().float().contiguous(), dtype=wp.vec4),
        wp.from_torch(topology.faces),
        wp.from_torch(topology.neighbours),
        wp.from_torch(edges),
    ]
    wp.launch(_find_edges, dim=len(pairs), inputs=inputs, device=launch_device(ids.device))
    found = torch.nonzero(edges[:, 0] >= 0).squeeze(-1)
    near, far = pairs[found].unbind(dim=1)
    return Silhouettes(near, far, edges[found].long())


def neighbouring_pairs(ids: Tensor, depth: Tensor) -> Tensor:
    """(N, 2) int64 flat indices of neighbouring pixels that see different triangles, the nearer first."""
    index = torch.arange(ids.numel(), device=ids.device).reshape(ids.shape)
    right, below = ids[:, :, 1:] != ids[:, :, :-1], ids[:, 1:] != ids[:, :-1]
    first = torch.cat([index[:, :, :-1][right], index[:, :-1][below]])
    second = torch.cat([index[:, :, 1:][right], index[:, 1:][below]])
    flat = depth.reshape(-1)
    swap = flat[second] < flat[first]
    return torch.stack([torch.where(swap, second, first), torch.where(swap, first, second)], dim=1)


def blend(picture: Tensor, silhouettes: Silhouettes, clip: Tensor) -> Tensor:
    """Blend neighbouring pixels by the share of them that lies on either side of a silhouette.

    Args:
        picture: (B, H, W, C), differentiable.
        clip: (B, V, 4), differentiable.

    Returns:
        (B, H, W, C).
    """
    _, height, width, channels = picture.shape
    near, far = silhouettes.near, silhouettes.far
    vertices = silhouettes.edges + (near // (height * width) * clip.shape[1])[:, None]
    ends = clip.reshape(-1, 4).index_select(0, vertices.reshape(-1)).reshape(-1, 2, 4)
    x = (ends[..., 0] / ends[..., 3] * 0.5 + 0.5) * width - (near % width + 0.5)[:, None]
    y = (0.5 - ends[..., 1] / ends[..., 3] * 0.5) * height - (near // width % height + 0.5)[:, None]
    vertical = ((near - far).abs() == width)[:, None]
    along, across = torch.where(vertical, y, x), torch.where(vertical, x, y)
    crossing = (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]) / (across[:, 1] - across[:, 0])
    # the surface ends this far beyond the middle of the two centres: into the far pixel, or short of the near one's rim
    excess = crossing * (far - near).sign() - 0.5
    flat = picture.reshape(-1, channels)
    change = excess[:, None] * (flat.index_select(0, near) - flat.index_select(0, far))
    return flat.index_add(0, torch.where(excess > 0, far, near), change).reshape(picture.shape)


def antialias(picture: Tensor, ids: Tensor, depth: Tensor, clip: Tensor, topology: Topology) -> Tensor:
    """Smooth the silhouettes of a rasterized picture.

    Args:
        picture: (B, H, W, C) float32 colours, or any other quantity a pixel holds; differentiable.
        ids, depth: (B, H, W), as ``rasterize_ids`` returns them.
        clip: (B, V, 4) clip-space positions; differentiable in x, y and w.
        topology: of the mesh drawn, ``Topology.build(faces)``.

    Returns:
        (B, H, W, C).
    """
    if len(topology.faces) and nvdiffrast_context(clip.device) is not None:
        return _antialias_with_nvdiffrast(picture, ids, depth, clip, topology.faces)
    return blend(picture, find_silhouettes(ids, depth, clip, topology), clip)


def _antialias_with_nvdiffrast(picture: Tensor, ids: Tensor, depth: Tensor, clip: Tensor, faces: Tensor) -> Tensor:
    import nvdiffrast.torch as dr

    nothing = torch.zeros_like(depth)
    seen = torch.stack([nothing, nothing, depth * 2 - 1, (ids + 1).float()], dim=-1)
    # its row 0 is the bottom
    return dr.antialias(picture.flip(1).contiguous(), seen.flip(1).contiguous(), clip.contiguous(), faces).flip(1)
