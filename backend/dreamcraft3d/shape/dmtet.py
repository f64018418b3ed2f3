"""DMTet: a surface as a signed distance and a small shift at every vertex of a tetrahedral grid.

Shen et al., "Deep Marching Tetrahedra", NeurIPS 2021; the shape of DreamCraft3D's geometry and texture stages.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamcraft3d.errors import UserError
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.tetrahedra import TetGrid, marching_tetrahedra, tet_grid

SdfFunction = Callable[[Tensor], Tensor]

_POINTS_AT_ONCE = 1 << 18
_BOX_MARGIN = 0.1  # of the surface's extent, on each side, as in the released code


class DMTet(nn.Module):
    """Signed distances and shifts to be optimised, on a grid that a saved state rebuilds.

    Attributes:
        sdf: (N,) parameter, world units, negative inside. Zeros at first: see ``from_sdf``.
        deformation: (N, 3) parameter; a vertex moves by tanh(deformation) * spacing / 2, so never past half a cell.
        grid: the tetrahedra, kept on the device of the parameters and out of ``state_dict``.
    """

    vertices: Tensor
    tets: Tensor
    edges: Tensor
    boundary: Tensor
    box: Tensor
    resolution: Tensor

    def __init__(self, resolution: int, box: Tensor) -> None:
        """Arguments as for ``tet_grid``; ``box`` is (2, 3)."""
        super().__init__()
        box = box.detach().cpu().float()
        grid = tet_grid(resolution, box)
        self.spacing = grid.spacing
        self.register_buffer("box", box)
        self.register_buffer("resolution", torch.tensor(resolution))
        for name in ("vertices", "tets", "edges", "boundary"):
            self.register_buffer(name, getattr(grid, name), persistent=False)
        self.sdf = nn.Parameter(torch.zeros(len(grid.vertices)))
        self.deformation = nn.Parameter(torch.zeros(len(grid.vertices), 3))

    @classmethod
    def from_sdf(
        cls, fn: SdfFunction, resolution: int, half_extent: float, device: torch.device | str = "cpu"
    ) -> DMTet:
        """Fit a grid tightly around the zero surface of a function.

        The function is looked at in the cube of ``half_extent`` first, and again in the bounding box of what was found
        there, 10 % larger on each side but within the cube.

        Args:
            fn: (n, 3) points on ``device`` to (n,) signed distances, negative inside; called without gradients.
            resolution: cells along the longest side, of the cube and then of the box.
            half_extent: half the side of the cube around the origin, world units.

        Raises:
            UserError: nothing of the surface lies in the cube.
        """
        cube = torch.tensor([[-half_extent] * 3, [half_extent] * 3])
        found = cls._sampled(fn, resolution, cube, device).extract().vertices.detach()
        low, high = found.amin(0).cpu(), found.amax(0).cpu()
        # no side thinner than two of the cube's cells: a sheet has a surface, not yet a volume
        margin = ((high - low) * _BOX_MARGIN).clamp(min=2 * half_extent / resolution)
        tight = torch.stack([low - margin, high + margin]).clamp(min=-half_extent, max=half_extent)
        return cls._sampled(fn, resolution, tight, device)

    @classmethod
    def _sampled(cls, fn: SdfFunction, resolution: int, box: Tensor, device: torch.device | str) -> DMTet:
        shape = cls(resolution, box).to(device)
        with torch.no_grad():
            shape.sdf.copy_(torch.cat([fn(points) for points in shape.vertices.split(_POINTS_AT_ONCE)]))
        return shape

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> DMTet:
        """The shape that ``state_dict`` was taken from, on the CPU."""
        shape = cls(int(state["resolution"]), state["box"])
        shape.load_state_dict(state)
        return shape

    @property
    def grid(self) -> TetGrid:
        return TetGrid(self.vertices, self.tets, self.edges, self.boundary, self.spacing)

    def extract(self) -> Mesh:
        """The surface now, its vertices differentiable in ``sdf`` and ``deformation``. Always closed.

        Where the inside reaches the box, the surface is closed there: the boundary counts as just outside.

        Raises:
            UserError: the sign never changes, so there is no surface.
        """
        sdf = torch.where(self.boundary, self.sdf.clamp(min=1e-3 * self.spacing), self.sdf)
        positions = self.vertices + torch.tanh(self.deformation) * (self.spacing / 2)
        vertices, faces = marching_tetrahedra(positions, sdf, self.grid)
        if len(faces) == 0:
            raise UserError(
                "The shape has vanished: nothing of its surface is left in the grid.",
                hint="Start from a shape that fills more of the frame, or lower the learning rate.",
            )
        return Mesh(vertices, faces)

    def sdf_regulariser(self) -> Tensor:
        """Scalar that falls as the sign changes along fewer edges, and so removes floating bits.

        Binary cross-entropy between each end of a crossing edge and the sign of the other (Munkberg et al.,
        "Extracting Triangular 3D Models, Materials, and Lighting From Images", CVPR 2022, eq. 2; here a mean for each
        direction, as in the released nvdiffrec). Distances enter as logits, in cells, so that it does not depend on
        the size of the grid. 0 when no edge crosses.
        """
        inside = self.sdf.detach() < 0
        ends = self.edges[inside[self.edges[:, 0]] != inside[self.edges[:, 1]]]
        if len(ends) == 0:
            return self.sdf.sum() * 0.0
        logits = self.sdf[ends] / self.spacing
        outside = (~inside[ends]).to(logits.dtype)
        return 2 * F.binary_cross_entropy_with_logits(logits, outside.flip(-1))


def mesh_laplacian(vertices: Tensor, faces: Tensor) -> Tensor:
    """Mean squared distance of each vertex to the mean of its neighbours: scalar, world units squared.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) vertex indices.
    """
    edges = torch.unique(_half_edges(faces).sort(-1).values, dim=0)
    ends = torch.cat([edges, edges.flip(-1)])
    total = torch.zeros_like(vertices).index_add(0, ends[:, 0], vertices[ends[:, 1]])
    count = torch.bincount(ends[:, 0], minlength=len(vertices)).unsqueeze(-1)
    return ((total / count.clamp(min=1) - vertices) * (count > 0)).square().sum(-1).mean()


def normal_consistency(vertices: Tensor, faces: Tensor) -> Tensor:
    """Mean of 1 - cos between the normals of triangles that share an edge: scalar in [0, 2], 0 when flat.

    Pairs with a triangle of under a thousandth of the mean area are left out: marching tetrahedra makes such slivers,
    and their normals say nothing while their gradients are without bound.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) vertex indices, consistently wound. Edges with other than two triangles are ignored.
    """
    half_edges = _half_edges(faces).sort(-1).values
    keys, order = (half_edges[:, 0] * len(vertices) + half_edges[:, 1]).sort(stable=True)
    _, count = torch.unique_consecutive(keys, return_counts=True)
    first = (count.cumsum(0) - count)[count == 2]
    pairs = torch.stack([order[first], order[first + 1]], -1) % len(faces)

    a, b, c = vertices[faces].unbind(1)
    normals = torch.cross(b - a, c - a, dim=-1)
    area = normals.detach().norm(dim=-1)
    pairs = pairs[(area > 1e-3 * area.mean())[pairs].all(-1)]
    if len(pairs) == 0:
        return vertices.sum() * 0.0
    return (1 - F.cosine_similarity(normals[pairs[:, 0]], normals[pairs[:, 1]], dim=-1, eps=1e-30)).mean()


def _half_edges(faces: Tensor) -> Tensor:
    """(3F, 2) the sides of every triangle; side k of face f is row k F + f."""
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
