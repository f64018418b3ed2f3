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
    image.filepath = bpy.path.relpath(str(path)) if bpy.data.is_saved else str(path)
    image.reload()


def export_glb(context: bpy.types.Context, made: bpy.types.Object, path: Path) -> None:
    """Write an object as it is seen, its modifiers applied, at its size and turned as it is, standing on the origin.

    Raises:
        RuntimeError: Blender's exporter failed.
    """
    graph = context.evaluated_depsgraph_get()
    mesh = bpy.data.meshes.new_from_object(made.evaluated_get(graph), preserve_all_data_layers=True, depsgraph=graph)
    mesh.transform(Matrix.Translation(-made.matrix_world.translation) @ made.matrix_world)
    name, made.name = made.name, "Exported"  # the file is to have its name
    mesh.name = name
    copy, scene = bpy.data.objects.new(name, mesh), bpy.data.scenes.new(name)
    scene.collection.objects.link(copy)
    try:
        with context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
            bpy.ops.export_scene.gltf(
                filepath=str(path), export_format="GLB", use_active_scene=True, export_yup=True, export_animations=False
            )
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(copy)
        bpy.data.meshes.remove(mesh)
        made.name = name
