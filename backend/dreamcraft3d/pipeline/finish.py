"""From the last stage's result to what the artist gets: GLB, OBJ and PLY, contact sheet, turntable and metrics."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import replace

import torch
import torch.nn.functional as F
import trimesh
from safetensors.torch import save_file
from torch import Tensor

from dreamcraft3d.export.bake import bake
from dreamcraft3d.export.formats import write_glb, write_obj, write_ply
from dreamcraft3d.export.sheet import contact_sheet, turntable_gif
from dreamcraft3d.export.unwrap import Atlas, laid_out, unwrap
from dreamcraft3d.picture.metrics import mask_iou, psnr
from dreamcraft3d.pipeline.config import STAGES
from dreamcraft3d.pipeline.given import Given
from dreamcraft3d.pipeline.own_texture import OwnTexture
from dreamcraft3d.pipeline.reference import Reference
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.pipeline.start import load_result
from dreamcraft3d.render.camera import Cameras
from dreamcraft3d.render.raster import rasterize
from dreamcraft3d.render.shading import light
from dreamcraft3d.render.texture import sample_texture
from dreamcraft3d.shape.mesh import Mesh

TURNTABLE_FRAMES = 36


def export_run(
    request: Request, folder: RunFolder, reference: Reference, given: Given | None, device: torch.device
) -> dict[str, object]:
    """Write everything beside and into the run's folder; returns the metrics.

    Raises:
        UserError: the output cannot be written.
    """
    mesh, albedo = load_result(request.until, folder.result(request.until), request.preset, device)
    size = request.preset.export.texture
    if given is not None and given.keeps_uv:
        atlas, baked = laid_out(given.fitted), given.painted(albedo, size)
        colours = torch.zeros_like(mesh.vertices).index_copy(
            0, atlas.source_index, sample_texture(baked.image, atlas.uv)
        )
        reference = OwnTexture(given.fitted, given.part, size, size).within_part(reference)
    else:
        atlas = unwrap(mesh, size)
        baked, colours = bake(atlas, albedo, size), albedo(mesh.vertices)
    output = folder.path.parent / request.output
    vertices = mesh.vertices if given is None else given.placed(mesh.vertices)
    placed = replace(atlas, vertices=vertices[atlas.source_index])
    if given is not None and given.keeps_uv:
        save_final(folder, given.mesh)
    else:
        save_final(folder, joined_mesh(placed))
    write_obj(folder.path / f"{output.stem}.obj", placed, baked.image, output.stem)
    write_ply(folder.path / f"{output.stem}.ply", Mesh(vertices, mesh.faces, colours))

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
        "texture": {"size": max(baked.image.shape[:2]), "coverage": round(float(baked.coverage), 4)},
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


def joined_mesh(placed: Atlas) -> Mesh:
    """An unwrapped mesh joined across the seams of its texture, with its UV map."""
    used, faces = torch.unique(placed.source_index[placed.faces], return_inverse=True)
    vertices = placed.vertices.new_zeros(int(placed.source_index.max()) + 1, 3)
    vertices[placed.source_index] = placed.vertices
    return Mesh(vertices[used], faces, uv=placed.uv[placed.faces].reshape(-1, 2))


def save_final(folder: RunFolder, mesh: Mesh) -> None:
    """Keep the finished mesh for programs, as ``final.safetensors``.

    ``vertices`` (V, 3) where the artist has them; ``faces`` (F, 3) int32; ``uv`` (3F, 2), one for each corner of each face
    in order.
    """
    assert mesh.uv is not None
    tensors = {"vertices": mesh.vertices, "faces": mesh.faces.int(), "uv": mesh.uv}
    path = folder.result("final")
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


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
