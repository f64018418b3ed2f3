"""A scripted backend for objects that are refined: what it is sent, what it sends back, and what must not change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
from launcher import wait_until
from scripted_backend import ScriptedBackend, job_state

from dreamcraft3d_protocol.arrays import Arrays
from dreamcraft3d_protocol.messages import Message, Preview, Result, Submit

Part = Callable[[str], ModuleType]


class Refining:
    """The add-on, connected to a scripted backend."""

    def __init__(self, part: Part, data: Path) -> None:
        self.part, self.seq = part, 0
        self.backend = ScriptedBackend(data)
        self.studio = part("pump").studio()
        self.target, self.versions = part("scene.target"), part("scene.versions")
        self.until(lambda: self.studio.session.connected)

    def until(self, happened: Callable[[], bool]) -> None:
        """Pump both ends until something has happened."""
        wait_until(lambda: self.backend.serve() is not None and self.part("pump").pump(0.01) > 0 and happened(), 20)

    def settle(self) -> None:
        """Pump until nothing more comes."""
        left = [10]

        def quiet() -> bool:
            left[0] = 10 if self.studio.tick(0.01) else left[0] - 1
            return left[0] <= 0

        self.until(quiet)

    def hear(self, kind: type[Message] = Submit) -> Any:
        """The next message of a kind that the backend hears; its arrays are in ``backend.arrays``."""
        self.until(lambda: any(isinstance(message, kind) for message in self.backend.heard))
        found = next(message for message in self.backend.heard if isinstance(message, kind))
        self.backend.heard.remove(found)
        return found

    def order(self, operator: Callable[..., set[str]], **asked: Any) -> tuple[Submit, Arrays]:
        """Press a button; what the backend is sent then."""
        assert operator(**asked) == {"FINISHED"}
        bpy.ops.ed.undo_push(message="Refine")  # as Blender does after an operator that is not called by a script
        said = self.hear()
        self.backend.say(job_state(said.job))
        return said, dict(self.backend.arrays)

    def paint(self, job: str, arrays: Arrays, colour: tuple[int, int, int]) -> None:
        """A preview in which all of the texture has one colour."""
        self.seq += 2
        mesh = {"vertices": arrays["vertices"], "faces": arrays["faces"]}
        grey = {"colours": np.full_like(arrays["vertices"], 0.5)}
        pixels = np.full((64, 64, 3), colour, np.uint8)
        self.backend.say((Preview(job, self.seq - 1, "texture", "mesh", "t", None), mesh | grey))
        painted = {"uv": arrays["uv"], "texture": pixels}
        self.backend.say((Preview(job, self.seq, "texture", "texture", "t", "t"), painted))
        self.settle()

    def finish(self, job: str, arrays: Arrays, png: bytes) -> None:
        """The result: the mesh as it was sent, or one that is given, and a texture."""
        mesh = {name: arrays[name] for name in ("vertices", "faces", "uv")}
        files = {"texture": np.frombuffer(png, np.uint8), "glb": np.ones(8, np.uint8)}
        self.backend.say(job_state(job, "done"), (Result(job, {}), mesh | files))
        self.settle()


def monkey(name: str = "Monkey") -> Any:
    """Blender's monkey with two UV maps, two materials, a colour attribute, a vertex group and a shape key."""
    bpy.ops.mesh.primitive_monkey_add()
    made = bpy.context.object
    made.name = made.data.name = name
    made.data.uv_layers.new(name="Second")
    made.data.color_attributes.new("Mask", "FLOAT_COLOR", "POINT")
    for number, colour in enumerate([(1, 0, 0, 1), (0, 0, 1, 1)]):
        own = bpy.data.materials.new(f"Own {number}")
        own.use_nodes = True
        own.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = colour
        made.data.materials.append(own)
    made.data.polygons.foreach_set("material_index", np.arange(len(made.data.polygons), dtype=np.int32) % 2)
    made.vertex_groups.new(name="Ears").add([0, 1, 2], 0.5, "REPLACE")
    made.shape_key_add(name="Basis")
    made.shape_key_add(name="Smile")
    bpy.ops.ed.undo_push(message="Monkey")
    return made


def textured(made: Any, size: int = 32) -> Any:
    """Give an object one material with one image that has another colour at each pixel; the image."""
    image = bpy.data.images.new("Skin", size, size, alpha=True)
    steps = np.arange(size * size) % 256
    values = np.stack([steps, 255 - steps, steps // 2, np.full_like(steps, 255)], axis=1)
    image.pixels.foreach_set((values / 255).astype(np.float32).ravel())
    image.pack()
    own = bpy.data.materials.new("Skin")
    own.use_nodes = True
    node = own.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    own.node_tree.links.new(node.outputs["Color"], own.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    made.data.materials.clear()
    made.data.materials.append(own)
    made.data.polygons.foreach_set("material_index", np.zeros(len(made.data.polygons), np.int32))
    bpy.ops.ed.undo_push(message="Skin")
    return image


def fingerprint(mesh: Any) -> str:
    """Changes with any value of a mesh's attributes, keys, materials and their images."""
    state: list[object] = [mesh.name, len(mesh.edges), len(mesh.polygons)]
    for attribute in mesh.attributes:
        state += [attribute.name, attribute.domain, attribute.data_type, _values(attribute)]
    loops = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", loops)
    state += [loops.tobytes(), [layer.name for layer in mesh.uv_layers], mesh.uv_layers.active_index]
    state += [[(g.group, g.weight) for g in v.groups] for v in mesh.vertices]
    for key in mesh.shape_keys.key_blocks if mesh.shape_keys is not None else ():
        state += [key.name, key.value, [tuple(point.co) for point in key.data]]
    for material in mesh.materials:
        state += [material.name, [(k, v) for k, v in material.items()]]
        for node in material.node_tree.nodes:
            state += [node.name, [_plain(socket) for socket in node.inputs]]
            if node.bl_idname == "ShaderNodeTexImage":
                state += [node.image.name, tuple(node.image.size), tuple(node.image.pixels)]
        state += [(link.from_node.name, link.to_node.name, link.to_socket.name) for link in material.node_tree.links]
    return hashlib.sha256(repr(state).encode()).hexdigest()


def _plain(socket: Any) -> object:
    value = getattr(socket, "default_value", None)
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value


def _values(attribute: Any) -> bytes:
    widths = {"FLOAT_VECTOR": 3, "FLOAT2": 2, "FLOAT_COLOR": 4, "BYTE_COLOR": 4, "INT32_2D": 2, "INT16_2D": 2}
    names = {"FLOAT_VECTOR": "vector", "FLOAT2": "vector", "FLOAT_COLOR": "color", "BYTE_COLOR": "color"}
    kinds = {"BOOLEAN": bool, "INT": np.int32, "INT8": np.int32, "INT32_2D": np.int32, "INT16_2D": np.int32}
    kind = kinds.get(attribute.data_type, np.float32)
    values = np.empty(len(attribute.data) * widths.get(attribute.data_type, 1), kind)
    attribute.data.foreach_get(names.get(attribute.data_type, "value"), values)
    return values.tobytes()


def values_of(layer: Any, name: str, width: int, count: int) -> np.ndarray:
    """Values of a mesh's layer, (count, width)."""
    values = np.empty(count * width, np.float32)
    layer.foreach_get(name, values)
    return values.reshape(count, width)


def png(colour: tuple[float, float, float], size: int = 8) -> bytes:
    """One colour, written by Blender."""
    image = bpy.data.images.new("png", size, size)
    image.pixels.foreach_set(np.tile(np.array([*colour, 1], np.float32), size * size))
    image.pack()
    data = bytes(image.packed_file.data)
    bpy.data.images.remove(image)
    return data


def active() -> Any:
    return bpy.context.object


def shown_image(made: Any) -> Any:
    """The image that the faces of an object show."""
    material = made.material_slots[made.data.polygons[0].material_index].material
    base = next(n for n in material.node_tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled").inputs["Base Color"]
    return base.links[0].from_node.image
