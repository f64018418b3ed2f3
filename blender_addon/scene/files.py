# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished object's texture and geometry as files."""

from __future__ import annotations

from pathlib import Path

import bpy
from mathutils import Matrix


def save_texture(image: bpy.types.Image, path: Path) -> None:
    """Write an image to a file, which it is read from in future; it is not packed any more.

    Raises:
        OSError: it cannot be written.
    """
    if image.is_dirty or image.packed_file is None:  # it was painted on since, or lies in another file
        image.pack()
    path.write_bytes(bytes(image.packed_file.data))
    image.unpack(method="REMOVE")
    image.filepath = _from_here(path)
    image.reload()


def export_glb(context: bpy.types.Context, made: bpy.types.Object, path: Path) -> None:
    """Write an object as it is seen, its modifiers applied, at its size and turned as it is, standing on the origin.

    Raises:
        RuntimeError: Blender's exporter failed.
    """
    graph = context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(made.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph)
    mesh.transform(Matrix.Translation(-made.matrix_world.translation) @ made.matrix_world)
    if made.matrix_world.is_negative:
        mesh.flip_normals()  # they point inward in a mirrored mesh
    name = mesh.name = made.name
    if made.library is None:
        made.name = "Exported"  # the file is to have its name
    copy = bpy.data.objects.new(name, mesh)
    context.scene.collection.objects.link(copy)  # in a scene of its own, the exporter would leave the window there
    selected = [other for other in context.view_layer.objects if other.select_get()]
    for other in selected:
        other.select_set(False)
    copy.select_set(True)
    try:
        bpy.ops.export_scene.gltf(
            filepath=str(path),
            export_format="GLB",
            use_active_scene=True,
            use_selection=True,
            export_current_frame=True,
            export_animations=False,
        )
    finally:
        bpy.data.objects.remove(copy)
        bpy.data.meshes.remove(mesh)
        for other in selected:
            other.select_set(True)
        if made.library is None:
            made.name = name


def _from_here(path: Path) -> str:
    """A path as the file is to have it: beside itself, where it has a place on the same drive."""
    if not bpy.data.is_saved:
        return str(path)
    try:
        return bpy.path.relpath(str(path))
    except ValueError:  # on another drive, in Windows
        return str(path)
