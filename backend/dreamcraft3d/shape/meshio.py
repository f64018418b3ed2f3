"""Reading an artist's mesh, and bringing it to the size and place the stages work at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import manifold3d
import numpy as np
import torch
import trimesh
from manifold3d import Manifold
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from dreamcraft3d.errors import UserError
from dreamcraft3d.shape.mesh import Mesh

# Rows give world x (front), y and z (up) from the file's axes. glTF says y up, front +z, and OBJ files mostly follow;
# PLY, STL and OFF say nothing, and come from programs with z up and front -y, such as Blender.
_Y_UP = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_Z_UP = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_AXES = {".glb": _Y_UP, ".gltf": _Y_UP, ".obj": _Y_UP, ".ply": _Z_UP, ".stl": _Z_UP, ".off": _Z_UP}

Colours = NDArray[np.float64]
COARSEST = 0.02
HALVINGS = 8


@dataclass(frozen=True)
class Placement:
    """Where a mesh was before it was normalised: normalised = (vertices - centre) * scale.

    Attributes:
        centre: (3,) middle of its bounding box, its own units.
        scale: factor to its normalised size.
    """

    centre: Tensor
    scale: float

    def restore(self, vertices: Tensor) -> Tensor:
        """(V, 3) normalised positions back to where the mesh was."""
        return vertices / self.scale + self.centre.to(vertices.device)


def load_mesh(path: Path | str) -> Mesh:
    """Read GLB, glTF, OBJ, PLY, STL or OFF as one mesh in world axes, in the file's own units.

    All parts of a scene are joined, each where its transforms put it. Colours come from textures (at the vertices, so
    detail within a triangle is lost), base colours, vertex or face colours, multiplied as glTF says; vertices are
    doubled where faces that meet differ. Parts without a colour are mid grey if others have one. Edges that the file
    keeps sharp by doubling vertices stay doubled; STL, which doubles all, is joined.

    Raises:
        UserError: the file is missing, of another kind, unreadable, or holds no triangles or no finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.", hint="Check the path of the mesh.")
    axes = _AXES.get(path.suffix.lower())
    if axes is None:
        kinds = ", ".join(sorted(kind[1:].upper() for kind in _AXES))
        raise UserError(f"{path.name} is not a mesh of a kind that can be read.", hint=f"These can: {kinds}.")
    try:
        parts = _load_parts(path)
    except Exception as error:
        raise UserError(f"{path.name} is broken and cannot be read as a mesh.", hint="Export it again.") from error
    if not parts:
        raise UserError(f"{path.name} has no triangles.", hint="Export it again, with its mesh selected.")

    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts[:-1]])
    vertices = np.concatenate([vertices for vertices, _, _ in parts])
    faces = np.concatenate([faces + start for (_, faces, _), start in zip(parts, starts, strict=True)])
    if faces.min() < 0 or faces.max() >= len(vertices) or not np.isfinite(vertices[faces]).all():
        raise UserError(f"{path.name} has vertices that are missing or not numbers.", hint="Export it again.")
    used, faces = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used] @ axes.T, faces.reshape(-1, 3)
    if not any(colours is not None for _, _, colours in parts):
        return _mesh(vertices, faces, None)
    grey = [np.full((len(f), 3, 3), 0.5) if colours is None else colours for _, f, colours in parts]
    return _split_by_colour(vertices, faces, np.concatenate(grey))


def load_uv_mesh(path: Path) -> tuple[dict[str, NDArray[Any]], Image.Image]:
    """Read a mesh with its own UV map and texture, from GLB, glTF or OBJ.

    Returns:
        ``vertices`` (V, 3) float32 in world axes and the file's units, ``faces`` (F, 3) int32 and ``uv`` (3F, 2) float32,
        one for each corner; and the texture.

    Raises:
        UserError: as :func:`load_mesh`; or it has no UV map, no texture, or more than one.
    """
    load_mesh(path)
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    images: list[Image.Image] = []
    for part, transform in _placed_parts(path):
        image = _image_of(part)
        if image is None or part.visual.uv is None or len(part.visual.uv) != len(part.vertices):
            raise UserError(f"{path.name} has parts without a texture or a UV map.", "Unwrap and texture all of it.")
        faces = np.asarray(part.faces)[:, :: -1 if np.linalg.det(transform[:3, :3]) < 0 else 1]
        parts.append((part.vertices @ transform[:3, :3].T + transform[:3, 3], faces, part.visual.uv[faces]))
        images.append(image)
    if any(image.tobytes() != images[0].tobytes() for image in images[1:]):
        raise UserError(f"{path.name} has more than one texture.", "Join them in one, or repaint its parts one by one.")
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts[:-1]])
    vertices = np.concatenate([vertices for vertices, _, _ in parts]) @ _AXES[path.suffix.lower()].T
    arrays = {
        "vertices": np.float32(vertices),
        "faces": np.concatenate([faces + start for (_, faces, _), start in zip(parts, starts, strict=True)]),
        "uv": np.float32(np.concatenate([uv.reshape(-1, 2) for _, _, uv in parts])),
    }
    return arrays | {"faces": np.int32(arrays["faces"])}, images[0]


def normalise(mesh: Mesh, size: float) -> tuple[Mesh, Placement]:
    """Centre a mesh's bounding box on the origin, and scale it to fit the front view.

    Args:
        mesh: any mesh.
        size: what the larger of its width (along y) and height (along z) becomes, world units.

    Raises:
        UserError: seen from the front, the mesh has neither width nor height.
    """
    used = mesh.vertices[mesh.faces.reshape(-1)]
    low, high = used.amin(0), used.amax(0)
    extent = float((high - low)[1:].max())
    if extent <= 0:
        raise UserError("The mesh has no size seen from the front.", hint="Check its scale.")
    placement = Placement((low + high) / 2, size / extent)
    return replace(mesh, vertices=(mesh.vertices - placement.centre) * placement.scale), placement


def keep_components(mesh: Mesh, min_fraction: float = 0.01) -> Mesh:
    """Drop connected parts with fewer faces than a fraction of those of the largest part, and their vertices.

    Vertices at the same place count as one, so that doubled ones do not make parts.
    """
    n, place = _joined(mesh)
    faces = place[mesh.faces.cpu().numpy()]
    rows, columns = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    _, part = connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n)), False)
    part_of_face = part[faces[:, 0]]
    size = np.bincount(part_of_face)
    keep = torch.from_numpy((size >= min_fraction * size.max())[part_of_face]).to(mesh.faces.device)
    used, kept = torch.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(mesh.vertices[used], kept, None if mesh.colours is None else mesh.colours[used])


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """Simplify a closed surface until at most ``faces`` triangles are left; on the CPU, not differentiable.

    It stays closed, and moves by no more than it must: the tolerance is halved in on, up to ``COARSEST`` of the mesh's
    size. Colours are those of the nearest vertex before. A mesh that is small enough already, or is not closed, comes
    back as it is.
    """
    if len(mesh.faces) <= faces:
        return mesh
    vertices = mesh.vertices.detach().cpu().numpy()
    solid = Manifold(manifold3d.Mesh(vertices, mesh.faces.cpu().numpy().astype(np.uint32)))
    if solid.is_empty():  # Manifold's answer to what is no solid
        return mesh
    fine, coarse = 0.0, COARSEST * float(np.ptp(vertices, axis=0).max())
    small = solid.simplify(coarse)
    for _ in range(HALVINGS):
        middle = (fine + coarse) / 2
        made = solid.simplify(middle)
        if made.num_tri() > faces:
            fine = middle
        else:
            coarse, small = middle, made
    simple = small.to_mesh()
    colours = None
    if mesh.colours is not None:
        colours = mesh.colours.detach().cpu().numpy()[cKDTree(vertices).query(simple.vert_properties)[1]]
    return _mesh(simple.vert_properties, simple.tri_verts, colours)


def _joined(mesh: Mesh) -> tuple[int, NDArray[np.int64]]:
    """How many places the vertices take, and (V,) the place of each."""
    places, place = np.unique(mesh.vertices.detach().cpu().numpy(), axis=0, return_inverse=True)
    return len(places), place.reshape(-1)


def _mesh(vertices: NDArray[Any], faces: NDArray[Any], colours: NDArray[Any] | None) -> Mesh:
    return Mesh(
        torch.from_numpy(vertices.astype(np.float32)),
        torch.from_numpy(faces.astype(np.int64)),
        None if colours is None else torch.from_numpy(colours.astype(np.float32)),
    )


def _split_by_colour(vertices: NDArray[Any], faces: NDArray[Any], corners: Colours) -> Mesh:
    """A mesh with one vertex for each pair of vertex and colour, from the (F, 3, 3) colours of face corners."""
    quantised = np.round(corners.reshape(-1, 3) * 255).astype(np.int64)
    key = ((faces.reshape(-1) * 256 + quantised[:, 0]) * 256 + quantised[:, 1]) * 256 + quantised[:, 2]
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    return _mesh(vertices[faces.reshape(-1)[first]], index.reshape(-1, 3), corners.reshape(-1, 3)[first])


def _load_parts(path: Path) -> list[tuple[NDArray[Any], NDArray[Any], Colours | None]]:
    """Vertices in the scene's frame, faces and (F, 3, 3) sRGB corner colours of every mesh in every place it stands."""
    linear = path.suffix.lower() in (".glb", ".gltf")
    parts = []
    for part, transform in _placed_parts(path):
        if path.suffix.lower() == ".stl":
            part.merge_vertices()
        colours = _corner_colours(part, linear)
        mirrored = np.linalg.det(transform[:3, :3]) < 0
        with np.errstate(invalid="ignore"):  # what is not a number is told of by load_mesh
            vertices = part.vertices @ transform[:3, :3].T + transform[:3, 3]
        faces = np.asarray(part.faces)[:, ::-1] if mirrored else np.asarray(part.faces)
        parts.append((vertices, faces, colours[:, ::-1] if mirrored and colours is not None else colours))
    return parts


def _placed_parts(path: Path) -> list[tuple[trimesh.Trimesh, NDArray[np.float64]]]:
    """Every mesh of a file, a copy in every place it stands, with its transform there."""
    scene = trimesh.load_scene(path, process=False)
    placed = [(scene.geometry[name], transform) for transform, name in map(scene.graph.get, scene.graph.nodes_geometry)]
    return [(part.copy(), at) for part, at in placed if isinstance(part, trimesh.Trimesh) and len(part.faces) > 0]


def _corner_colours(part: trimesh.Trimesh, linear: bool) -> Colours | None:
    """(F, 3, 3) sRGB colours in [0, 1] of face corners, or None where nothing gives any.

    ``linear``: the file's base and vertex colours are linear light, as glTF says; textures never are.
    """
    visual = part.visual
    if visual.kind in ("vertex", "face"):
        rgb = np.asarray(visual.vertex_colors if visual.kind == "vertex" else visual.face_colors)[:, :3] / 255.0
        corners = rgb[part.faces] if visual.kind == "vertex" else np.repeat(rgb[:, None], 3, 1)
        return _to_srgb(corners) if linear else corners
    if visual.kind != "texture":
        return None
    material = visual.material
    factor = material.baseColorFactor if _is_pbr(material) else material.diffuse
    image = _image_of(part)
    corners = np.ones((len(part.faces), 3, 3)) * (np.ones(3) if factor is None else np.asarray(factor)[:3] / 255.0)
    if "color" in visual.vertex_attributes:
        corners = corners * trimesh.visual.color.to_float(visual.vertex_attributes["color"])[:, :3][part.faces]
    if image is None or visual.uv is None or len(visual.uv) != len(part.vertices):
        return _to_srgb(corners) if linear else corners
    texture = _sample(image, visual.uv)[part.faces]
    if not linear:
        return texture  # an MTL texture takes the place of the diffuse colour, which exporters leave at any value
    return _to_srgb(corners * _to_linear(texture))


def _is_pbr(material: Any) -> bool:
    return isinstance(material, trimesh.visual.material.PBRMaterial)


def _image_of(part: trimesh.Trimesh) -> Image.Image | None:
    """The texture of its base colour."""
    if part.visual.kind != "texture":
        return None
    material = part.visual.material
    return material.baseColorTexture if _is_pbr(material) else material.image


def _sample(image: Image.Image, uv: NDArray[np.float64]) -> Colours:
    """(V, 3) bilinear colours of a repeating texture at (V, 2) coordinates with their origin at the bottom left."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255.0
    height, width = pixels.shape[:2]
    x, y = uv[:, 0] * width - 0.5, (1 - uv[:, 1]) * height - 0.5
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - x0)[:, None], (y - y0)[:, None]
    top, bottom = y0 % height, (y0 + 1) % height
    left, next_left = x0 % width, (x0 + 1) % width
    upper = pixels[top, left] * (1 - right) + pixels[top, next_left] * right
    lower = pixels[bottom, left] * (1 - right) + pixels[bottom, next_left] * right
    return upper * (1 - down) + lower * down


def _to_srgb(linear: Colours) -> Colours:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _to_linear(srgb: Colours) -> Colours:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
