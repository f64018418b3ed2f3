"""UV unwrapping: cut a mesh into islands and lay them flat in one square texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
import xatlas
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.shape.mesh import Mesh

# Cutting time grows with the square of an island's faces; this keeps 60k faces to about ten seconds on a core.
_FACES_PER_ISLAND = 1500
_SMOOTHING_STEPS = 5
_ROUGH = 0.4  # bent edges about a vertex; a crease has a third, noise most
# xatlas comes out up to half as large again as the size it is asked for, and its gutters shrink by as much.
_OVERSIZE = 1.5


@dataclass(frozen=True)
class Atlas:
    """A mesh with a place in the texture for each of its faces.

    Attributes:
        vertices: (V', 3) float32 positions, world units; vertices on seams appear once an island.
        faces: (F', 3) int64 vertex indices, wound and ordered as in the mesh, less the faces that were dropped.
        uv: (V', 2) float32 in [0, 1]; u runs right and **v runs up**, (0, 0) is the bottom-left corner of the picture
            (as in OBJ and Blender; glTF's writer flips).
        source_index: (V',) int64, the vertex of the mesh that each vertex is a copy of.
    """

    vertices: Tensor
    faces: Tensor
    uv: Tensor
    source_index: Tensor


def gutter(size: int) -> int:
    """Texels kept free between islands of a texture ``size`` texels wide: 4 at 1024, never under 2."""
    return max(2, size // 256)


def unwrap(mesh: Mesh, size: int) -> Atlas:
    """Lay a mesh out in one texture of ``size`` x ``size`` texels.

    Faces that have no area, repeat another face's three corners (either way round) or touch a vertex that is not finite
    are dropped first. Islands are cut on a smoothed copy: surface noise would otherwise break the mesh into thousands
    of islands and take minutes. Islands lie at least ``gutter(size)`` texels apart unless there are so many of them
    (about 500 and more) that the gutters alone fill the picture.

    Args:
        mesh: V vertices and F faces, on any device; the atlas is on the same one.
        size: width of the texture the atlas is meant for, in texels.

    Raises:
        UserError: the mesh has no face with an area.
    """
    points = mesh.vertices.detach().cpu().double().numpy()
    faces = mesh.faces.detach().cpu().numpy()
    corner, welded = _weld(points)
    faces = faces[_sound(corner, welded[faces])]
    if len(faces) == 0:
        raise UserError("The mesh has no surface to unwrap.", hint="Check that its faces have an area.")

    flat = _smooth(corner, welded[faces])
    # in units of the mean face: xatlas passes over faces whose area is under 1e-7
    triangles = flat[welded[faces]]
    flat = (flat - triangles.mean(axis=(0, 1))) / np.sqrt(_areas(triangles).mean())
    charts = xatlas.ChartOptions()
    charts.max_chart_area = _FACES_PER_ISLAND
    packing = xatlas.PackOptions()
    packing.resolution = size
    packing.padding = int(np.ceil(gutter(size) * _OVERSIZE))
    packer = xatlas.Atlas()
    packer.add_mesh(flat[welded].astype(np.float32), faces.astype(np.uint32))
    packer.generate(charts, packing)
    source, indices, uv = packer.get_mesh(0)

    device = mesh.vertices.device
    source_index = torch.from_numpy(source.astype(np.int64)).to(device)
    return Atlas(
        vertices=mesh.vertices.detach()[source_index].float(),
        faces=torch.from_numpy(indices.astype(np.int64)).to(device),
        uv=torch.from_numpy(uv.astype(np.float32)).to(device).clamp(0.0, 1.0),
        source_index=source_index,
    )


def laid_out(mesh: Mesh) -> Atlas:
    """A mesh in its own UV map, with all of its faces; a vertex appears once for each place that it has there."""
    assert mesh.uv is not None
    corners = np.column_stack([mesh.faces.reshape(-1).cpu().numpy(), mesh.uv.cpu().double().numpy()])
    _, first, copies = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    device = mesh.vertices.device
    kept = torch.from_numpy(first).to(device)
    source_index = mesh.faces.reshape(-1)[kept]
    return Atlas(
        vertices=mesh.vertices[source_index],
        faces=torch.from_numpy(copies.reshape(-1, 3)).to(device),
        uv=mesh.uv[kept],
        source_index=source_index,
    )


def _weld(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distinct positions (W, 3), and which of them each of the (V, 3) points is (V,)."""
    corner, welded = np.unique(points, axis=0, return_inverse=True)
    return corner, welded.reshape(-1)


def _areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F,) areas of (F, 3, 3) triangles."""
    sides = triangles[:, 1:] - triangles[:, :1]
    return np.asarray(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)) / 2


def _sound(corner: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the (F, 3) faces are finite, have an area and are the first with their corners, in order."""
    finite = np.flatnonzero(np.isfinite(corner[faces]).all(axis=(1, 2)))
    triangles = corner[faces[finite]]
    extent = np.ptp(triangles.reshape(-1, 3), axis=0).max() if len(finite) else 0.0
    sound: NDArray[np.int64] = finite[_areas(triangles) > 1e-12 * extent**2]
    _, first = np.unique(np.sort(faces[sound], axis=1), axis=0, return_index=True)
    return sound[np.sort(first)]


def _smooth(corner: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """A copy of the (W, 3) corners with the noise taken out, each connected part as large as it was.

    Moves each vertex of a rough place halfway to the mean of its neighbours, a few times over. That shrinks small
    parts; they are scaled back, so that each keeps its share of the texture. Elsewhere nothing moves: smoothing would
    fold slivers over and shrink thin walls.
    """
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    linked = coo_matrix((np.ones(len(start)), (start, end)), shape=(len(corner), len(corner))).tocsr()
    linked = ((linked + linked.T) > 0).astype(np.float64)
    degree: NDArray[np.float64] = np.asarray(linked.sum(axis=1))
    corner = np.where(degree == 0, 0.0, corner)  # unused ones may be anywhere, even not finite
    neighbours = csr_matrix(linked.multiply(1.0 / np.maximum(degree, 1.0)))
    rough = (neighbours @ (neighbours @ _bent_edges(corner, faces)) > _ROUGH)[:, None]
    smooth = corner
    for _ in range(_SMOOTHING_STEPS):
        smooth = np.where(rough, (smooth + neighbours @ smooth) / 2, smooth)

    parts, part = connected_components(linked, directed=False)
    members = np.bincount(part, minlength=parts)[:, None]

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = [np.bincount(part, weights=column, minlength=parts) for column in values.T]
        return np.stack(columns, axis=1) / members

    centre, smooth_centre = mean(corner)[part], mean(smooth)[part]
    radius = np.sqrt(mean((corner - centre) ** 2).sum(axis=1))
    smooth_radius = np.sqrt(mean((smooth - smooth_centre) ** 2).sum(axis=1))
    grow = radius / np.maximum(smooth_radius, 1e-12 * max(radius.max(), 1e-300))
    return centre + (smooth - smooth_centre) * grow[part][:, None]


def _bent_edges(corner: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """(W,) the fraction of each vertex's edges that bend by 30 degrees or more: two in six along a crease."""
    solid = trimesh.Trimesh(corner, faces, process=False)
    edges, bent = solid.face_adjacency_edges, solid.face_adjacency_angles > np.deg2rad(30.0)
    count = np.bincount(edges.reshape(-1), minlength=len(corner))
    return np.bincount(edges.reshape(-1), weights=bent.repeat(2), minlength=len(corner)) / np.maximum(count, 1)
