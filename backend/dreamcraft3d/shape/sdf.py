"""Signed distance of meshes and of voxels: what a tetrahedral grid is started from.

Artists' meshes are seldom closed and wound alike: parts overlap, sides are missing, triangles face inwards or lie twice
over one another. So triangles are first turned by what can be seen of them from far away (Takayama et al., "A Simple
Method for Correcting Facet Orientations in Polygon Meshes Based on Ray Casting", JCGT 2014), and the inside is where
the generalised winding number of the turned triangles exceeds one half (Jacobson et al., "Robust Inside-Outside
Segmentation using Generalized Winding Numbers", SIGGRAPH 2013), which bridges the holes that are left.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
import warp as wp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.kernels import launch_device
from dreamcraft3d.shape.mesh import Mesh

_RAYS = 1 << 20  # in all; a face gets 8 to 64, over the whole sphere
_SHEET = 0.6  # the lesser-seen side of an open patch sees this share of what the other sees: a leaf, not a shell
_FAR = 1.0e6


class MeshSdf:
    """The signed distance of any triangle mesh, negative inside, made once and called on points.

    What counts as inside: the space behind the outermost triangles, holes bridged, hollows that cannot be seen from
    outside filled. Triangles that cannot be seen are ignored. An open patch seen alike from both sides (a leaf, a
    sail, a plane) encloses nothing: its distance is at least 0 everywhere, unless a least thickness is asked for, which
    closed blades get, too. An open patch
    that encloses a space (a box without a bottom, a cup of a single layer of triangles) counts as filled. In the
    mouth of a hole the value jumps from negative to positive, since no triangle is near. Where parts overlap, the sign
    is right, but inside the distance is to any triangle of theirs, also one that is buried.
    """

    def __init__(self, mesh: Mesh, least_thickness: float = 0.0) -> None:
        """Sort and turn the triangles of a mesh.

        Args:
            mesh: stays on its device, on which points are then to be given.
            least_thickness: what is thinner, a blade or an open patch seen alike from both sides, is thickened on
                both sides to this, world units. About one cell of the grid that will be filled keeps it in one piece.

        Raises:
            UserError: the mesh has no triangle with an area.
        """
        vertices = mesh.vertices.detach().contiguous().float()
        faces, patches, closed = _patches(_distinct_faces(vertices.cpu().numpy(), mesh.faces.cpu().numpy()))
        if len(faces) == 0:
            raise UserError("The mesh has no triangles with an area, so it has no inside.")

        seen = self._sky_seen(vertices, faces, patches)
        front, back = seen[:, 0], seen[:, 1]
        faces[back[patches] > front[patches]] = faces[back[patches] > front[patches]][:, ::-1]
        less, more = seen.min(-1), seen.max(-1)
        sheet = ~closed & (less > _SHEET * more)
        visible = more > 0
        solid, sheets = faces[(visible & ~sheet)[patches]], faces[(visible & sheet)[patches]]
        self._solid = _warp_mesh(vertices, solid)
        width = _widths(self._solid, len(solid), vertices.device)
        thin = width < least_thickness
        lacking = least_thickness - torch.cat([torch.zeros(len(sheets)), width[thin]])
        self._thin = _warp_mesh(vertices, np.concatenate([sheets, solid[thin.numpy()]]))
        self._added = lacking.to(vertices.device) / 2

    @staticmethod
    def _sky_seen(vertices: Tensor, faces: NDArray[np.int64], patches: NDArray[np.int64]) -> NDArray[np.float64]:
        """(P, 2) area from which a ray gets away to infinity, in front of and behind each patch."""
        mesh = _warp_mesh(vertices, faces)
        assert mesh is not None
        corners = vertices.cpu().numpy().astype(np.float64)[faces]
        offset = 1e-5 * float(np.linalg.norm(np.ptp(corners.reshape(-1, 3), axis=0)))
        escaped = torch.zeros(len(faces), 2, dtype=torch.float32, device=vertices.device)
        directions = _sphere_directions(min(max(_RAYS // len(faces), 8), 64))
        rays = wp.from_torch(directions.to(vertices.device), dtype=wp.vec3)
        device = launch_device(vertices.device)
        wp.launch(_count_escaping, len(faces), [mesh.id, rays, offset, wp.from_torch(escaped)], device=device)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2
        weighted = escaped.cpu().numpy() * area[:, None]
        return np.stack([np.bincount(patches, side) for side in weighted.T], -1)

    def __call__(self, points: Tensor) -> Tensor:
        """(n, 3) points to (n,) float32 signed distances, world units. Not differentiable."""
        distance = torch.full((len(points),), math.inf, device=points.device)
        if self._solid is not None:
            distance = _query(_signed_distance, self._solid, points)
        if self._thin is not None:
            distance = distance.minimum(_query(_distance, self._thin, points, self._added))
        return distance


def sdf_from_mesh(mesh: Mesh, points: Tensor) -> Tensor:
    """(n,) signed distances of (n, 3) points to a mesh, negative inside; see ``MeshSdf`` for what inside means.

    About 5 to 15 microseconds a point on one CPU core. For several calls on one mesh keep a ``MeshSdf``.
    """
    return MeshSdf(mesh)(points)


def sdf_from_occupancy(volume: Tensor, half_extent: float) -> Tensor:
    """Signed distance, at the middles of voxels, to the surface between full and empty ones.

    The surface lies on the faces between voxels, so a voxel beside it is half a voxel away: exact for planes along the
    axes, within half a voxel elsewhere.

    Args:
        volume: (R, R, R) bool, True inside; voxel (i, j, k) is centred at -half_extent + (i + 0.5, ...) * 2 / R *
            half_extent in world (x, y, z).
        half_extent: half the side of the cube, world units.

    Returns:
        (R, R, R) float32, negative inside.

    Raises:
        UserError: all voxels are full or all are empty.
    """
    inside = volume.cpu().numpy().astype(bool)
    if inside.all() or not inside.any():
        raise UserError("The volume has no surface: it is all inside or all outside.")
    voxels = ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)
    voxels -= 0.5 * np.sign(voxels)
    return torch.from_numpy(voxels).float().to(volume.device) * (2 * half_extent / len(volume))


def sample_grid(values: Tensor, half_extent: float, points: Tensor) -> Tensor:
    """(n,) trilinear values at (n, 3) points of an (R, R, R) grid laid out as for ``sdf_from_occupancy``.

    Beyond the middles of the outermost voxels their value goes on unchanged.
    """
    where = (points / half_extent).flip(-1).view(1, -1, 1, 1, 3)  # grid_sample wants the last axis first
    return F.grid_sample(values[None, None], where, padding_mode="border", align_corners=False).view(-1)


def _distinct_faces(vertices: NDArray[np.float32], faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(F', 3) faces with vertices at one place joined, without those that lie twice or have no area."""
    step = max(float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0, 1e-30) * 1e-6
    cells = np.round(vertices / step).astype(np.int64)
    _, first, index = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    faces = first[index.reshape(-1)][faces]
    _, keep = np.unique(np.sort(faces, axis=-1), axis=0, return_index=True)
    faces = faces[np.sort(keep)]
    a, b, c = np.moveaxis(vertices.astype(np.float64)[faces], 1, 0)
    return faces[np.linalg.norm(np.cross(b - a, c - a), axis=-1) > step * step]


def _patches(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Turn faces to agree with their neighbours across edges that have exactly two faces.

    Each face stands in a graph twice, as it is and turned; neighbours that agree join like with like, others like with
    turned. A patch that can be wound consistently then makes two connected components, mirrors of each other.

    Returns:
        (F, 3) faces, some turned; (F,) the patch of each; (P,) bool, whether every edge of a patch has two faces.
    """
    n = len(faces)
    half_edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = half_edges[:, 0] < half_edges[:, 1]
    _, edge, count = np.unique(np.sort(half_edges, axis=-1), axis=0, return_inverse=True, return_counts=True)
    paired = count[edge.reshape(-1)] == 2
    order = np.argsort(edge.reshape(-1)[paired], kind="stable")
    one, other = np.flatnonzero(paired)[order].reshape(-1, 2).T
    f, g = one % n, other % n
    turned = np.where(forward[one] == forward[other], n, 0)  # both run along the edge the same way: they disagree
    rows, columns = np.concatenate([f, f + n]), np.concatenate([g + turned, g + n - turned])
    _, label = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(2 * n, 2 * n)), False)
    as_is, flipped = label[:n], label[n:]
    faces = np.where((as_is > flipped)[:, None], faces[:, ::-1], faces)
    _, patch = np.unique(np.minimum(as_is, flipped), return_inverse=True)
    open_edges = np.bincount(patch[np.flatnonzero(~paired) % n], minlength=int(patch.max(initial=-1)) + 1)
    return faces, patch, open_edges == 0


def _sphere_directions(count: int) -> Tensor:
    """(count, 3) unit vectors spread evenly over the sphere, on a golden spiral."""
    i = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * i / count
    turn = i * (math.pi * (1 + math.sqrt(5)))
    return torch.stack([(1 - z * z).sqrt() * turn.cos(), (1 - z * z).sqrt() * turn.sin(), z], -1).float()


def _warp_mesh(vertices: Tensor, faces: NDArray[np.int64]) -> wp.Mesh | None:
    if len(faces) == 0:
        return None
    indices = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.int32)).to(vertices.device)
    return wp.Mesh(
        points=wp.clone(wp.from_torch(vertices, dtype=wp.vec3)),
        indices=wp.clone(wp.from_torch(indices.view(-1))),
        support_winding_number=True,
    )


def _widths(mesh: wp.Mesh | None, faces: int, device: torch.device) -> Tensor:
    """(F,) how far it is, from the middle of each face straight inward, to where the solid ends; infinite for none."""
    width = torch.full((faces,), math.inf, device=device)
    if mesh is not None:
        wp.launch(_measure_width, faces, [mesh.id, wp.from_torch(width)], device=launch_device(device))
    return width.cpu()


def _query(kernel: wp.Kernel, mesh: wp.Mesh, points: Tensor, *of_faces: Tensor) -> Tensor:
    points = points.detach().float().contiguous()
    out = torch.empty(len(points), dtype=torch.float32, device=points.device)
    inputs = [mesh.id, wp.from_torch(points, dtype=wp.vec3), *map(wp.from_torch, of_faces), wp.from_torch(out)]
    wp.launch(kernel, len(points), inputs, device=launch_device(points.device))
    return out


@wp.kernel(enable_backward=False)
def _signed_distance(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    out: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
) -> None:
    i = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[i], _FAR)
    nearest = wp.mesh_eval_position(mesh, query.face, query.u, query.v)
    out[i] = query.sign * wp.length(nearest - points[i])


@wp.kernel(enable_backward=False)
def _distance(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    added: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
    out: wp.array(dtype=wp.float32),  # type: ignore[valid-type]
) -> None:
    i = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[i], _FAR)
    nearest = wp.mesh_eval_position(mesh, query.face, query.u, query.v)
    out[i] = wp.length(nearest - points[i]) - added[query.face]


@wp.kernel(enable_backward=False)
def _measure_width(mesh: wp.uint64, width: wp.array(dtype=wp.float32)) -> None:  # type: ignore[valid-type]
    face = wp.tid()
    inward = -wp.mesh_eval_face_normal(mesh, face)  # type: ignore[operator]
    middle = wp.mesh_eval_position(mesh, face, 1.0 / 3.0, 1.0 / 3.0)
    hit = wp.mesh_query_ray(mesh, middle + 1.0e-5 * inward, inward, _FAR)
    if hit.result and wp.dot(hit.normal, inward) > 0.0:  # it leaves there; a part that begins there is another one
        width[face] = hit.t


@wp.kernel(enable_backward=False)
def _count_escaping(
    mesh: wp.uint64,
    rays: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    offset: float,
    escaped: wp.array2d(dtype=wp.float32),  # type: ignore[valid-type]
) -> None:
    face = wp.tid()
    normal = wp.mesh_eval_face_normal(mesh, face)
    for i in range(rays.shape[0]):
        # rays start all over the face: the low-discrepancy points of Roberts' R2 sequence, folded into the triangle
        u = wp.frac(0.7548776662 * float(i + 1))
        v = wp.frac(0.5698402910 * float(i + 1))
        if u + v > 1.0:
            u = 1.0 - u
            v = 1.0 - v
        side = 0
        lift = offset
        if wp.dot(rays[i], normal) < 0.0:  # type: ignore[call-overload]
            side = 1
            lift = -offset
        start = wp.mesh_eval_position(mesh, face, u, v) + lift * normal  # type: ignore[operator]
        if not wp.mesh_query_ray(mesh, start, rays[i], _FAR).result:  # type: ignore[arg-type]
            escaped[face, side] += 1.0
