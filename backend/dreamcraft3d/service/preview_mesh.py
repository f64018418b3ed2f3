"""What a preview shows of a mesh: no more triangles than a viewport takes in its stride. The result is not touched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import fast_simplification
import numpy as np
from torch import Tensor

from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d_protocol.arrays import Array

PREVIEW_FACES = 100_000
"""Blender 4.2 takes some 25 ms for these, in which nothing else is drawn (``tests/blender/benchmark_tick.py``)."""


@dataclass(frozen=True)
class PreviewMesh:
    """A mesh as it is sent.

    Attributes:
        topology: a hash of the mesh that it shows.
        vertices: (W, 3) float32.
        faces: (G, 3) int32.
        moved: (V,) the vertex here that each vertex of the mesh has become; None where they are the same.
    """

    topology: str
    vertices: Array
    faces: Array
    moved: Array | None = None

    @classmethod
    def of(cls, mesh: Mesh, before: PreviewMesh | None) -> PreviewMesh:
        """Simplified by quadric errors to ``PREVIEW_FACES``, unless it has fewer, or a UV map, which must stay.

        Args:
            before: the last one, which is taken again if it shows the same mesh.
        """
        vertices, faces = _numbers(mesh.vertices, np.float32), _numbers(mesh.faces, np.int32)
        topology = hashlib.blake2b(vertices.tobytes() + faces.tobytes(), digest_size=8).hexdigest()
        if before is not None and before.topology == topology:
            return before
        if len(faces) <= PREVIEW_FACES or mesh.uv is not None:
            return cls(topology, vertices, faces)
        *_, collapses = fast_simplification.simplify(vertices, faces, target_count=PREVIEW_FACES, return_collapses=True)
        small, triangles, moved = fast_simplification.replay_simplification(vertices, faces, collapses)
        return cls(topology, small.astype(np.float32), triangles.astype(np.int32), moved)

    def colours(self, given: Tensor) -> Array:
        """(V, 3) colours of the mesh's vertices as (W, 3) float32: the mean of those that have become one."""
        colours = _numbers(given, np.float32)
        if self.moved is None:
            return colours
        count = np.bincount(self.moved, minlength=len(self.vertices))
        sums = [np.bincount(self.moved, colours[:, i], len(self.vertices)) for i in range(3)]
        return (np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]).astype(np.float32)


def _numbers(tensor: Tensor, dtype: type) -> Array:
    """A copy on the CPU, which later steps do not change."""
    return np.array(tensor.detach().cpu().numpy(), dtype, order="C")
