"""From the last stage's result to what the artist gets: GLB, OBJ and PLY, contact sheet, turntable and metrics."""

from __future__ import annotations

import os
import resource
import sys

import torch
import torch.nn.functional as F
import trimesh
from safetensors.torch import save_file
from torch import Tensor

from dreamcraft3d.export.bake import bake
from dreamcraft3d.export.formats import write_glb, write_obj, write_ply
from dreamcraft3d.export.sheet import contact_sheet, turntable_gif
from dreamcraft3d.export.unwrap import Atlas, unwrap
from dreamcraft3d.picture.metrics import mask_iou, psnr
from dreamcraft3d.pipeline.coarse import load_field
from dreamcraft3d.pipeline.config import STAGES
from dreamcraft3d.pipeline.geometry import load_shape
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.raster import rasterize
from dreamcraft3d.render.shading import light
from dreamcraft3d.render.texture import sample_texture
from dreamcraft3d.shape.colour import Albedo
from dreamcraft3d.shape.dmtet import DMTet
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d.shape.meshio import Placement, decimate, keep_components

TURNTABLE_FRAMES = 36


def export_run(
    request: Request, folder: RunFolder, reference: Reference, placement: Placement | None, device: torch.device
) -> dict[str, object]:
    """Write everything beside and into the run's folder; returns the metrics.

    Raises:
        UserError: the output cannot be written.
    """
    mesh, albedo = final_shape(request, folder, device)
    size = request.preset.export.texture
    atlas = unwrap(mesh, size)
    baked = bake(atlas, albedo, size)
    output = folder.path.parent / request.output
    placed = (
        atlas
        if placement is None
        else Atlas(placement.restore(atlas.vertices), atlas.faces, atlas.uv, atlas.source_index)
    )
    save_final(folder, placed, mesh)
    write_obj(folder.path / f"{output.stem}.obj", placed, baked.image, output.stem)
    vertices = mesh.vertices if placement is None else placement.restore(mesh.vertices)
    write_ply(folder.path / f"{output.stem}.ply", Mesh(vertices, mesh.faces, albedo(mesh.vertices)))

    sheet = request.preset.export.sheet
    ring = Cameras.ring(8, elevation=15).to(device)
    folder.save_views("final", render_textured(atlas, baked.image, ring, sheet))
    rows = [(name, views) for name in (*STAGES, "final") if (views := folder.load_views(name)) is not None]
    headings = [f"{a:.0f}°" for a in ring.azimuth.tolist()]
    contact_sheet(rows, folder.path / "stages.png", cell=sheet, headings=headings)
    turn = Cameras.ring(TURNTABLE_FRAMES, elevation=15).to(device)
    turntable_gif(render_textured(atlas, baked.image, turn, 256), folder.path / "turntable.gif")

    seconds = folder.read_json("progress.json")
    metrics: dict[str, object] = {
        "stages": seconds,
        "reference_view": reference_metrics(atlas, baked.image, reference),
        "mesh": mesh_metrics(mesh),
        "texture": {"size": size, "coverage": round(float(baked.coverage), 4)},
        "seconds": round(sum(stage["seconds"] for stage in seconds.values()), 2),
        "peak_rss_bytes": peak_memory(),
        "device": str(device),
        "preset": request.preset.name,
        "seed": request.seed,
        "version": request.version,
    }
    folder.write_json("metrics.json", metrics)
    write_glb(output, placed, baked.image, output.stem)
    return metrics


def save_final(folder: RunFolder, placed: Atlas, mesh: Mesh) -> None:
    """Keep the finished mesh for programs, as ``final.safetensors``.

    ``vertices`` (V, 3) where the artist has them, joined across seams of the texture; ``faces`` (F, 3) int32; ``uv``
    (3F, 2), one for each corner of each face in order.

    Args:
        placed: the unwrapped mesh, where the artist has it.
        mesh: what was unwrapped.
    """
    used, faces = torch.unique(placed.source_index[placed.faces], return_inverse=True)
    vertices = mesh.vertices.new_zeros(len(mesh.vertices), 3)
    vertices[placed.source_index] = placed.vertices
    tensors = {"vertices": vertices[used], "faces": faces.int(), "uv": placed.uv[placed.faces].reshape(-1, 2)}
    path = folder.result("final")
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def final_shape(request: Request, folder: RunFolder, device: torch.device) -> tuple[Mesh, Albedo]:
    """The mesh and colours of the last stage."""
    preset = request.preset
    if request.until != "coarse":
        return load_shape(folder.result(request.until), preset.half_extent, device)
    field = load_field(folder.result("coarse"), preset.coarse, preset.half_extent, device)
    with torch.no_grad():
        dmtet = DMTet.from_sdf(field.signed_distance, preset.geometry.resolution, preset.half_extent, device)
        return decimate(keep_components(dmtet.extract()), preset.geometry.faces), field.albedo


@torch.no_grad()
def render_textured(atlas: Atlas, image: Tensor, cameras: Cameras, size: int, supersample: int = 2) -> Tensor:
    """Pictures (B, size, size, 3) of an unwrapped mesh with its texture, as a viewer would show it, on white."""
    return torch.cat([_render_textured(atlas, image, cameras[[i]], size, supersample) for i in range(len(cameras))])[
        ..., :3
    ]


def _render_textured(atlas: Atlas, image: Tensor, camera: Cameras, size: int, supersample: int) -> Tensor:
    fine = size * supersample
    fragments = rasterize(camera.clip(atlas.vertices), atlas.faces, fine, fine)
    corners = atlas.vertices[atlas.faces]
    faces = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = torch.zeros(int(atlas.source_index.max()) + 1, 3, device=faces.device)
    for corner in range(3):  # vertices on seams share the normal of the vertex they are copies of
        smooth.index_add_(0, atlas.source_index[atlas.faces[:, corner]], faces)
    normal = F.normalize(fragments.interpolate(smooth[atlas.source_index]), dim=-1)
    point = fragments.interpolate(atlas.vertices)
    toward = F.normalize(camera.position - point, dim=-1)
    normal = normal * torch.where((normal * toward).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    rgb = sample_texture(image, fragments.interpolate(atlas.uv)) * light(normal, toward)
    picture = fragments.scatter(torch.cat([rgb, torch.ones_like(rgb[:, :1])], dim=-1), rgb.new_tensor([1, 1, 1, 0]))
    return F.avg_pool2d(picture.permute(0, 3, 1, 2), supersample).permute(0, 2, 3, 1)


def reference_metrics(atlas: Atlas, image: Tensor, reference: Reference) -> dict[str, float]:
    """How well the finished object matches its reference picture: PSNR (dB) inside the mask, and mask IoU."""
    size = reference.rgb.shape[1]
    picture = _render_textured(atlas, image, Cameras.at(0.0).to(atlas.vertices.device), size, 8)[0]
    rgb, mask = reference.rgb[0], reference.mask[0]
    return {
        "psnr": round(float(psnr(picture[..., :3], rgb, mask)), 2),
        "mask_iou": round(float(mask_iou(picture[..., 3:], mask)), 4),
    }


def mesh_metrics(mesh: Mesh) -> dict[str, object]:
    """Faces, vertices, whether the surface is closed, and its parts."""
    body = trimesh.Trimesh(mesh.vertices.cpu().numpy(), mesh.faces.cpu().numpy(), process=True)
    return {
        "faces": len(mesh.faces),
        "vertices": len(mesh.vertices),
        "watertight": bool(body.is_watertight),
        "components": int(body.body_count),
    }


def peak_memory() -> int:
    """The process's largest resident size so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
