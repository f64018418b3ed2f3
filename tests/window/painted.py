"""What a job paints is seen while it paints: by its texture in Solid shading, and in Cycles' viewport.

Run by ``run.sh`` with the others; the backend is a scripted one, which paints all in one colour.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import bpy
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
from driving import WORK, Condition, install, preferences, press, run, shoot, studio, view
from scripted import Server

SECONDS = 3.0
"""What Cycles needs to show something."""
RED, GREEN, BLUE = np.eye(3)


def shows(shot: str, colour: np.ndarray) -> bool:
    """Whether there is far more of this colour than of the others above the middle of the viewport, where the cursor is."""
    image = bpy.data.images.load(str(WORK / "shots" / f"{shot}.png"))
    width, height = image.size
    pixels = np.array(image.pixels[:], np.float32).reshape(height, width, 4)
    bpy.data.images.remove(image)
    region = view()["region"]
    x, y = region.x + region.width // 2, region.y + region.height // 2 + 60
    forehead = pixels[y - 10 : y + 10, x - 10 : x + 10, :3].mean(axis=(0, 1))
    return bool(forehead[colour > 0].min() > 1.5 * forehead[colour == 0].max())


def written(colour: np.ndarray) -> Condition:
    """Whether the monkey's image has this colour."""
    return lambda: np.allclose(bpy.context.view_layer.objects.active.data["dreamcraft3d_picture"].pixels[:3], colour)


def waited(seconds: float) -> Condition:
    left = [seconds / 0.1]

    def passed() -> bool:
        left[0] -= 1
        return left[0] <= 0

    return passed


def painted(server: Server, shading: str) -> Iterator[Condition]:
    """A monkey that is painted red, then green, and comes out blue."""
    from blender_addon.core.png import encode_png
    from scripted_backend import job_state

    from dreamcraft3d_protocol.messages import Preview, Result, Submit

    press("mesh.primitive_monkey_add", size=4)
    press("view3d.view_axis", type="FRONT")
    press("view3d.view_selected")
    press("dreamcraft3d.retexture", prompt="a bear")
    heard, say = server.backend.heard, server.backend.say
    yield lambda: any(isinstance(message, Submit) for message in heard)
    submitted = next(message for message in heard if isinstance(message, Submit))
    heard.clear()
    arrays = server.backend.arrays
    mesh = {name: arrays[name] for name in ("vertices", "faces")}
    colours = {"colours": np.full_like(arrays["vertices"], 0.5)}
    say(job_state(submitted.job), (Preview(submitted.job, 1, "texture", "mesh", "t", None), mesh | colours))
    for seq, (name, colour) in enumerate({"red": RED, "green": GREEN, "blue": BLUE}.items(), start=2):
        picture = np.full((512, 512, 3), 255 * colour, np.uint8)
        if name == "blue":
            opaque = np.dstack([picture, np.full((512, 512), 255, np.uint8)])
            files = {"texture": np.frombuffer(encode_png(opaque), np.uint8), "glb": np.ones(8, np.uint8)}
            say(job_state(submitted.job, "done"), (Result(submitted.job, {}), mesh | {"uv": arrays["uv"]} | files))
        else:
            preview = Preview(submitted.job, seq, "texture", "texture", "t", "t")
            say((preview, {"uv": arrays["uv"], "texture": picture}))
            yield written(colour)
        yield waited(SECONDS)
        shot = f"40-{shading.lower()}-{name}"
        yield from shoot(shot)
        assert shows(shot, colour), shot
    press("object.delete")


def session() -> Iterator[Condition]:
    """Step by step."""
    yield from install()
    preferences().data = str(WORK / "painted")
    server = Server(WORK / "painted")
    yield lambda: studio().session.status.phase == "ready"
    shown = view()["space_data"].shading
    shown.color_type = "TEXTURE"
    yield from painted(server, "Solid")
    bpy.context.scene.render.engine = "CYCLES"
    shown.type = "RENDERED"
    yield from painted(server, "Cycles")
    server.close()


run(session())
