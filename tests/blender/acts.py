"""What an artist and a backend may do, each at any time: the acts of the random test."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
from stage_backend import Stage

from dreamcraft3d_protocol.messages import Error

MAX_JOBS = 3
MODES = ("EDIT", "SCULPT", "TEXTURE_PAINT", "WEIGHT_PAINT", "VERTEX_PAINT")


class Acts:
    """Every method without an underscore is an act; what it chooses, it chooses by ``dice``."""

    def __init__(self, stage: Stage, folder: Path, addon: str) -> None:
        self.stage, self.folder, self.addon = stage, folder, addon
        self.dice = random.Random(0)
        self.files: list[str] = []
        self.saved = 0
        self.new_file()

    # --- the artist: history and files ---

    def undo(self) -> None:
        press(bpy.ops.ed.undo)

    def redo(self) -> None:
        press(bpy.ops.ed.redo)

    def save(self) -> None:
        self.saved += 1
        path = str(self.folder / f"{self.saved}.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path)
        self.files.append(path)

    def save_again(self) -> None:
        if bpy.data.filepath:
            bpy.ops.wm.save_mainfile()

    def open(self) -> None:
        if self.files:
            bpy.ops.wm.open_mainfile(filepath=self.dice.choice(self.files))

    def new_file(self) -> None:
        """With a cube of the artist's own, which has a painted material."""
        bpy.ops.wm.read_homefile(use_empty=True)
        cube_mesh, material = bpy.data.meshes.new("Own"), bpy.data.materials.new("Own")
        cube_mesh.from_pydata([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [], [(0, 1, 2, 3)])
        material.use_nodes = True
        node = material.node_tree.nodes.new("ShaderNodeTexImage")
        node.image = bpy.data.images.new("Own", 4, 4)
        cube_mesh.materials.append(material)
        bpy.context.scene.collection.objects.link(bpy.data.objects.new("Own", cube_mesh))
        push("Own")

    def toggle_addon(self) -> None:
        bpy.ops.preferences.addon_disable(module=self.addon)
        bpy.ops.preferences.addon_enable(module=self.addon)
        preferences = bpy.context.preferences.addons[self.addon].preferences
        preferences.data, preferences.autostart = str(self.stage.backend.data), False

    def purge(self) -> None:
        bpy.data.orphans_purge(do_local_ids=True, do_linked_ids=True, do_recursive=True)
        push("Purge")

    # --- the artist: objects ---

    def generate(self) -> None:
        if len(self.stage.backend.jobs) < MAX_JOBS:
            self._object_mode()
            bpy.context.scene.dreamcraft3d.prompt = "a red mushroom"
            press(bpy.ops.dreamcraft3d.generate)
            push("Generate")

    def refine(self) -> None:
        if len(self.stage.backend.jobs) < MAX_JOBS:
            for _ in self._chosen():
                press(
                    self.dice.choice((bpy.ops.dreamcraft3d.retexture, bpy.ops.dreamcraft3d.resculpt)), prompt="a bear"
                )
                push("Refine")

    def version(self) -> None:
        for _ in self._chosen():
            press(self.dice.choice((bpy.ops.dreamcraft3d.previous_version, bpy.ops.dreamcraft3d.next_version)))
            push("Version")

    def there_and_back(self) -> None:
        """Another version and this one again, which is as it was."""
        there, back = bpy.ops.dreamcraft3d.previous_version, bpy.ops.dreamcraft3d.next_version
        if self.dice.random() < 0.5:
            there, back = back, there
        for one in self._chosen():
            if there.poll():
                before = [tuple(vertex.co) for vertex in one.data.vertices]
                assert (there(), back()) == ({"FINISHED"}, {"FINISHED"})
                assert [tuple(vertex.co) for vertex in one.data.vertices] == before, "a version was lost"
                push("Version")

    def place(self) -> None:
        for job in self._job():
            self._object_mode()
            press(bpy.ops.dreamcraft3d.attach, job=job)
            push("Place in Scene")

    def move(self) -> None:
        for one in self._object():
            one.location.x += 1
            push("Move")

    def rename(self) -> None:
        for one in self._object():
            one.name = self.dice.choice("AZ")
            push("Rename")

    def hide(self) -> None:
        """Never in another mode: undo of that and then of a new scene ends Blender 4.2 by itself."""
        for one in self._object():
            if one.mode == "OBJECT":
                one.hide_viewport = not one.hide_viewport
                push("Hide")

    def delete(self) -> None:
        for _ in self._chosen():
            press(bpy.ops.object.delete)
            push("Delete")

    def remove(self) -> None:
        """As a script does."""
        for one in self._object():
            bpy.data.objects.remove(one)
            push("Remove")

    def duplicate(self) -> None:
        if len(bpy.data.objects) < 12:
            for _ in self._chosen():
                press(bpy.ops.object.duplicate, linked=self.dice.random() < 0.4)
                push("Duplicate")

    def join(self) -> None:
        for _ in self._chosen(2):
            press(bpy.ops.object.join)
            push("Join")

    def link_mesh(self) -> None:
        for one in self._object():
            other = self.dice.choice(list(bpy.data.objects))
            if one.mode == other.mode == "OBJECT" and "MESH" == one.type == other.type:
                one.data = other.data
                push("Link Object Data")

    def wear_material(self) -> None:
        for one in self._object():
            if one.type == "MESH" and one.mode == "OBJECT" and len(bpy.data.materials):
                one.data.materials.append(self.dice.choice(list(bpy.data.materials)))
                push("Material")

    def shape_key(self) -> None:
        for _ in self._chosen():
            press(bpy.ops.object.shape_key_add)
            push("Shape Key")

    def modifier(self) -> None:
        for one in self._chosen():
            if one.type == "MESH":
                one.modifiers.new("Triangulate", "TRIANGULATE")
                if self.dice.random() < 0.5:
                    press(bpy.ops.object.modifier_apply, modifier="Triangulate", single_user=self.dice.random() < 0.5)
                push("Modifier")

    def apply_scale(self) -> None:
        for one in self._chosen():
            one.scale.z = 2
            press(bpy.ops.object.transform_apply)
            push("Apply")

    def single_user(self) -> None:
        for _ in self._chosen():
            press(bpy.ops.object.make_single_user, object=True, obdata=True)
            push("Make Single User")

    def convert(self) -> None:
        for _ in self._chosen():
            press(bpy.ops.object.convert, target="CURVE")
            push("Convert")

    def change_mode(self) -> None:
        for _ in self._chosen():
            press(bpy.ops.object.mode_set, mode=self.dice.choice(MODES))
            push("Mode")

    def leave_mode(self) -> None:
        self._object_mode()
        push("Object Mode")

    def leave_all_modes(self) -> None:
        """Also those of hidden objects, which undo can leave in one."""
        layer = bpy.context.view_layer
        for one in [o for o in layer.objects if o.mode != "OBJECT"]:
            one.hide_viewport = False
            layer.objects.active = one
            self._object_mode()
        push("Object Mode")

    def cut(self) -> None:
        if bpy.context.mode == "EDIT_MESH":
            press(bpy.ops.mesh.select_all, action="SELECT")
            press(bpy.ops.mesh.subdivide)
            push("Subdivide")

    def second_scene(self) -> None:
        """A new one, that takes an object with it; or the present one is deleted."""
        self._object_mode()
        if len(bpy.data.scenes) > 1 and self.dice.random() < 0.5:
            bpy.data.scenes.remove(bpy.context.scene)
        elif len(bpy.data.scenes) < 3:
            scene = bpy.data.scenes.new("Another")
            for one in self._object():
                scene.collection.objects.link(one)
            bpy.context.window.scene = scene
        push("Scene")

    # --- the artist: jobs ---

    def cancel(self) -> None:
        for job in self._job("queued", "running"):
            bpy.ops.dreamcraft3d.cancel(job=job)

    def resume(self) -> None:
        for job in self._job("cancelled", "failed"):
            bpy.ops.dreamcraft3d.resume(job=job)

    def forget(self) -> None:
        for job in self._job("cancelled", "failed", "done"):
            if self.dice.random() < 0.3:
                bpy.ops.dreamcraft3d.forget(job=job)

    # --- the backend ---

    def running(self) -> None:
        for job in self._job("queued"):
            self.stage.backend.become(job, "running")

    def failed(self) -> None:
        for job in self._job("running"):
            self.stage.backend.become(job, "failed")

    def picture(self) -> None:
        for job in self._job("running"):
            self.stage.backend.picture(job)

    def mesh(self) -> None:
        for job in self._job("running"):
            self.stage.backend.mesh(job, self.dice.randint(3, 9))

    def changed(self) -> None:
        """Positions, colours or texture; now and then of a base that nobody has."""
        for job in self._job("running"):
            backend = self.stage.backend
            if backend.jobs[job].topology:
                form = self.dice.choice((backend.positions, backend.colours, backend.texture))
                form(job, "lost" if self.dice.random() < 0.2 else "")

    def done(self) -> None:
        for job in self._job("running"):
            self.stage.backend.done(job)

    def refused(self) -> None:
        for job in self._job():
            self.stage.backend.say(Error("user", "It cannot be.", "", "edit", self.dice.choice((job, None))))

    def restarted(self) -> None:
        """The backend is killed, and another takes its place; what it was computing waits again."""
        self.stage.kill()
        for kept in self.stage.backend.jobs.values():
            kept.topology = ""
        self.stage.restart()

    # --- choosing ---

    def _job(self, *states: str) -> list[str]:
        jobs = [j for j, kept in self.stage.backend.jobs.items() if not states or kept.told.state in states]
        return [self.dice.choice(jobs)] if jobs else []

    def _object(self) -> list[Any]:
        objects = list(bpy.data.objects)
        return [self.dice.choice(objects)] if objects else []

    def _chosen(self, count: int = 1) -> list[Any]:
        """One that is in sight, selected and active, in object mode; with others selected beside it."""
        self._object_mode()
        seen = [one for one in bpy.context.view_layer.objects if one.visible_get()]
        if len(seen) < count:
            return []
        for one in bpy.context.view_layer.objects:
            one.select_set(False)
        chosen = self.dice.sample(seen, count)
        for one in chosen:
            one.select_set(True)
        bpy.context.view_layer.objects.active = chosen[0]
        return chosen[:1]

    def _object_mode(self) -> None:
        if bpy.context.mode != "OBJECT":
            press(bpy.ops.object.mode_set, mode="OBJECT")


NAMES = sorted(name for name, act in vars(Acts).items() if callable(act) and not name.startswith("_"))
OFTEN = (
    "undo undo undo redo running running mesh mesh changed changed done done done generate duplicate open move "
    "refine refine single_user there_and_back there_and_back"
).split()
RARELY = ("toggle_addon", "restarted", "forget", "refused")


def press(operator: Callable[..., Any], **properties: Any) -> None:
    """An operator, where it may be called; what Blender itself refuses is no matter."""
    try:
        operator(**properties)
    except (RuntimeError, TypeError) as error:
        if "Traceback" in str(error):
            raise


def push(message: str) -> None:
    """As Blender does after an operator that is not called by a script."""
    press(bpy.ops.ed.undo_push, message=message)
