"""Where the picture of an order comes from: files, images, renders, the camera, a drop; and where objects stand."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest

Part = Callable[[str], ModuleType]


def form() -> Any:
    return bpy.context.scene.dreamcraft3d


def read(part: Part, **fields: Any) -> np.ndarray:
    """The picture of the form as Blender itself reads it: (H, W, 4) in [0, 1], row 0 at the bottom."""
    for name, value in fields.items():
        setattr(form(), name, value)
    content = part("scene.reference").read(bpy.context, form())["picture"].tobytes()
    image = bpy.data.images.new("read", 1, 1)
    image.pack(data=content, data_len=len(content))
    image.source = "FILE"
    pixels = np.array(image.pixels, np.float32).reshape(image.size[1], image.size[0], 4)
    bpy.data.images.remove(image)
    return pixels


def picture(name: str, pixels: np.ndarray, **kind: bool) -> Any:
    """An image of this file with pixels (H, W, 4), row 0 at the bottom."""
    height, width, _ = pixels.shape
    image = bpy.data.images.new(name, width, height, alpha=True, **kind)
    image.pixels.foreach_set(np.ascontiguousarray(pixels, np.float32).ravel())
    return image


def half_red() -> np.ndarray:
    """Red and opaque at the bottom left, half transparent green at the top, nothing elsewhere."""
    pixels = np.zeros((4, 6, 4), np.float32)
    pixels[0, 0], pixels[3] = (1, 0, 0, 1), (0, 0.5, 0, 0.5)
    return pixels


def box_in_front_of_a_camera() -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.camera_add(location=(0, -6, 0), rotation=(np.pi / 2, 0, 0))
    bpy.context.scene.camera = bpy.context.object
    bpy.ops.object.light_add(type="SUN", rotation=(1, 0, 0))
    bpy.context.scene.render.engine = "CYCLES"
    bpy.context.scene.cycles.samples = 4000
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 1920, 1080


def test_a_file_that_cannot_be_read_is_a_sentence(blender: Any, part: Part, tmp_path: Path) -> None:
    reference = part("scene.reference")
    assert reference.read(bpy.context, form()) == {}
    form().source = "FILE"
    assert reference.read(bpy.context, form()) == {}
    (tmp_path / "empty.png").touch()
    for name, sentence in (("none.png", "There is no picture"), ("empty.png", "is empty")):
        form().picture = str(tmp_path / name)
        with pytest.raises(OSError, match=sentence):
            reference.read(bpy.context, form())
    form().picture = __file__
    assert reference.read(bpy.context, form())["picture"].tobytes() == Path(__file__).read_bytes()


def test_an_image_of_the_file_is_sent_with_its_transparency(blender: Any, part: Part) -> None:
    sent = read(part, source="IMAGE", image=picture("Drawn", half_red()))
    assert np.abs(sent - half_red()).max() < 0.01


def test_a_float_image_is_sent_as_it_is_seen(blender: Any, part: Part) -> None:
    sent = read(part, source="IMAGE", image=picture("Linear", half_red(), float_buffer=True))
    assert sent[0, 0] == pytest.approx([1, 0, 0, 1], abs=0.01)
    assert sent[3, 2] == pytest.approx([0, 1, 0, 0.5], abs=0.01)  # linear 0.5, multiplied by alpha


def test_a_large_image_is_sent_smaller(blender: Any, part: Part) -> None:
    grey = np.full((3000, 5000, 4), 0.5, np.float32)
    sent = read(part, source="IMAGE", image=picture("Large", grey))
    assert sent.shape == (1000, 1666, 4)
    assert np.abs(sent - 0.5).max() < 0.01


def test_an_image_without_pixels_is_a_sentence(blender: Any, part: Part, tmp_path: Path) -> None:
    lost = bpy.data.images.new("Lost", 4, 4)
    lost.source, lost.filepath = "FILE", str(tmp_path / "gone.png")
    with pytest.raises(OSError, match="has no pixels"):
        read(part, source="IMAGE", image=lost)


def test_the_camera_is_rendered_small_and_transparent_and_every_setting_is_put_back(blender: Any, part: Part) -> None:
    box_in_front_of_a_camera()
    before = settings()
    sent = read(part, source="CAMERA")
    assert sent.shape == (432, 768, 4)
    assert sent[216, 384, 3] == 1
    assert sent[0, 0, 3] == 0
    assert settings() == before
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def test_what_was_rendered_before_is_there_after_the_camera_after_undo_and_after_redo(blender: Any, part: Part) -> None:
    box_in_front_of_a_camera()
    bpy.context.scene.cycles.samples = 1
    bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = 32, 8
    bpy.ops.render.render()
    bpy.ops.ed.undo_push(message="Before")
    for deed in (lambda: camera_twice(part), bpy.ops.ed.undo, bpy.ops.ed.redo):
        deed()
        result = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
        assert read(part, source="IMAGE", image=result).shape == (8, 32, 4)


def camera_twice(part: Part) -> None:
    for _ in range(2):
        assert read(part, source="CAMERA").shape == (192, 768, 4)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="Add Cube")


def test_nothing_is_left_where_the_camera_cannot_be_rendered(blender: Any, part: Part) -> None:
    box_in_front_of_a_camera()

    def spoil(scene: Any, *_: Any) -> None:
        Path(scene.render.filepath).mkdir()  # where the picture was to be

    bpy.app.handlers.render_pre.append(spoil)
    try:
        with pytest.raises(OSError, match="could not render the camera"):
            read(part, source="CAMERA")
    finally:
        bpy.app.handlers.render_pre.remove(spoil)
    assert [scene.name for scene in bpy.data.scenes] == ["Scene"]


def settings() -> dict[str, Any]:
    """All simple settings of the scene's renders."""
    scene, found = bpy.context.scene, {}
    for owner in (scene.render, scene.render.image_settings, scene.cycles, scene.eevee):
        for known in owner.bl_rna.properties:
            if known.type in ("INT", "FLOAT", "STRING", "BOOLEAN", "ENUM"):
                value = getattr(owner, known.identifier)
                plain = list(value) if hasattr(value, "__iter__") else value
                found[f"{type(owner).__name__}.{known.identifier}"] = str(plain)
    return found


def test_what_was_rendered_last_is_an_image_as_others(blender: Any, part: Part) -> None:
    box_in_front_of_a_camera()
    bpy.context.scene.cycles.samples = 1
    bpy.context.scene.render.resolution_percentage = 5
    bpy.ops.render.render()
    result = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
    sent = read(part, source="IMAGE", image=result)
    assert sent.shape == (54, 96, 4)
    assert sent[27, 48, :3].max() > sent[0, 0, :3].max()


def test_without_a_camera_or_a_window_there_is_a_sentence(blender: Any, part: Part) -> None:
    with pytest.raises(OSError, match="has no camera"):
        read(part, source="CAMERA")
    with pytest.raises(OSError, match="Without a window"):
        read(part, source="VIEWPORT")


def test_the_encoded_png_is_what_pillow_reads(blender: Any, part: Part) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 4), np.uint8)
    assert np.array_equal(np.asarray(image.open(io.BytesIO(part("core.png").encode_png(pixels)))), pixels)


def test_a_dropped_picture_fills_the_form(blender: Any, part: Part) -> None:
    assert bpy.ops.dreamcraft3d.drop_picture(filepath="/somewhere/egg.png") == {"FINISHED"}
    assert (form().source, form().picture, form().place) == ("FILE", "/somewhere/egg.png", "CURSOR")
    assert part("scene.reference").name(form()) == "egg"
    handler = bpy.types.DREAMCRAFT3D_FH_picture
    assert ".png" in handler.bl_file_extensions.split(";")


def test_an_object_stands_where_the_form_says(blender: Any, part: Part) -> None:
    place = part("scene.place")
    bpy.context.scene.cursor.location = (1, 2, 3)
    form().place = "ACTIVE"
    assert tuple(place.chosen(bpy.context, form())) == (1, 2, 3)  # there is none
    bpy.ops.mesh.primitive_cube_add(location=(5, 0, 0), scale=(1, 2, 3))
    bpy.context.view_layer.update()
    assert tuple(place.chosen(bpy.context, form())) == pytest.approx((5, 0, 3))
    form().dropped = (7, 8, 9)
    places = {"CURSOR": (1, 2, 3), "ORIGIN": (0, 0, 0), "DROP": (7, 8, 9)}
    for name, where in places.items():
        form().place = name
        assert tuple(place.chosen(bpy.context, form())) == where


def test_variations_stand_in_a_row_each_with_its_seed_and_are_one_step_to_undo(
    blender: Any, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    blender.autostart = True
    studio, sent = part("pump").studio(), []
    status = part("core.status").Status("ready", "Ready")
    monkeypatch.setattr(part("core.session").Session, "status", status)
    monkeypatch.setattr(studio.session, "send", lambda message, arrays=None: sent.append(message))
    monkeypatch.setattr(studio.session, "want", lambda: None)
    form().prompt, form().seed, form().variations, form().size = "a red mushroom", 2**31 - 2, 3, 2.0
    form().place = "ORIGIN"
    assert bpy.ops.dreamcraft3d.generate() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Generate")
    assert [message.seed for message in sent] == [2**31 - 2, 2**31 - 1, 0]
    made = [o for o in bpy.data.objects if o.get("dreamcraft3d_job")]
    assert sorted(o.location.x for o in made) == [0, 2.5, 5]
    assert {o["dreamcraft3d_job"] for o in made} == {message.job for message in sent}
    assert len({o.users_collection[0].name for o in made}) == 3
    assert all(o.select_get() for o in made)
    assert bpy.context.object["dreamcraft3d_job"] == sent[0].job  # whose progress is shown first
    bpy.ops.ed.undo()
    assert not [o for o in bpy.data.objects if o.get("dreamcraft3d_job")]
