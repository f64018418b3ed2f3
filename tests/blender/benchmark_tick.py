"""How long the main thread is kept by one tick that brings a preview into the scene, beside importing the same mesh as GLB.

python tests/blender/benchmark_tick.py [--faces 100000] [--textures 512 1024] [--rounds 40]: with bpy, after build_addon.py;
``ADDON_ZIP`` names the zip. The previews come over a real socket, so a tick is all of it: receiving, checking, writing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="blender-")
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

import bpy  # noqa: E402
import numpy as np  # noqa: E402
from conftest import ADDON  # noqa: E402
from stage_backend import Stage  # noqa: E402

from dreamcraft3d_protocol.arrays import Array  # noqa: E402
from dreamcraft3d_protocol.codec import Received  # noqa: E402
from dreamcraft3d_protocol.messages import Form, Preview  # noqa: E402

WANTED: dict[Form, int] = {"mesh": 45, "positions": 8, "colours": 8, "texture": 8}
"""Milliseconds at the 95th percentile."""

Costs = list[tuple[float, float]]


def torus(faces: int) -> tuple[Array, Array]:
    """Vertices and faces of a closed surface with about this many faces."""
    around = int((faces / 2) ** 0.5)
    along = faces // 2 // around
    u, v = np.meshgrid(np.arange(along), np.arange(around), indexing="ij")
    a, b = 2 * np.pi * u / along, 2 * np.pi * v / around
    points = np.stack([(2 + np.cos(b)) * np.cos(a), (2 + np.cos(b)) * np.sin(a), np.sin(b)], axis=-1)
    corner = [((u + i) % along) * around + (v + j) % around for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    triangles = np.stack([np.stack(corner[:3], -1), np.stack([corner[0], *corner[2:]], -1)], axis=2)
    return points.reshape(-1, 3).astype(np.float32), triangles.reshape(-1, 3).astype(np.int32)


def previews(job: str, form: Form, faces: int, side: int, rounds: int) -> Iterator[Received]:
    """As a job would send them, each different."""
    vertices, triangles = torus(faces)
    random = np.random.default_rng(0)
    uv = random.random((3 * len(triangles), 2), np.float32)
    for number in range(rounds):
        arrays = {
            "vertices": vertices * np.float32(1 + 0.01 * number),
            "faces": np.roll(triangles, number, axis=0),
            "colours": random.random(vertices.shape, np.float32),
            "uv": uv,
            "texture": random.integers(0, 256, (side, side, 3), np.uint8),
        }
        names = {"mesh": ("vertices", "faces", "colours"), "positions": ("vertices",), "colours": ("colours",)}
        sent = {name: arrays[name] for name in names.get(form, ("uv", "texture"))}
        base = None if form == "mesh" else "t"
        yield Preview(job, time.time_ns(), "texture", form, "t", base), sent


def cost(deed: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and those in which this thread computed: other programs do not count."""
    clock, computed = time.perf_counter(), time.thread_time()
    deed()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.thread_time() - computed)


def ticks(stage: Stage, pump: Callable[[float], float], job: str, letters: Iterator[Received]) -> Costs:
    """What the longest tick costs from when one has come until the scene has it."""
    taken = []
    shapes = stage.studio.previews.shapes
    for letter in letters:
        stage.backend.say(letter)
        costs: Costs = []
        while job not in shapes or shapes[job].seq != letter[0].seq or shapes[job].stale:
            stage.backend.serve()
            time.sleep(0.02)
            costs.append(cost(lambda: pump(0.008)))
        taken.append(max(costs))
        bpy.context.view_layer.update()
    return taken


def glb_imports(made: bpy.types.Object, rounds: int) -> Costs:
    """How long ``import_scene.gltf`` takes for the same mesh and texture."""
    path = os.path.join(bpy.app.tempdir, "made.glb")
    for one in bpy.context.view_layer.objects:
        one.select_set(one == made)
    bpy.ops.export_scene.gltf(filepath=path, use_selection=True)
    return [cost(lambda: bpy.ops.import_scene.gltf(filepath=path)) for _ in range(rounds)]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument(
        "--textures", type=int, nargs="+", default=[512, 1024], help="pixels of a side; the add-on shows 512 at most"
    )
    parser.add_argument("--rounds", type=int, default=40)
    chosen = parser.parse_args()
    archive = os.environ.get("ADDON_ZIP") or str(next((HERE.parent.parent / "dist").glob("*.zip")))
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    bpy.ops.preferences.addon_enable(module="io_scene_gltf2")
    bpy.ops.wm.read_homefile(use_empty=True)
    preferences = bpy.context.preferences.addons[ADDON].preferences
    preferences.data, preferences.autostart = tempfile.mkdtemp(), False
    parts = SimpleNamespace(
        **{name: __import__(f"{ADDON}.{name}", fromlist=["x"]) for name in ("pump", "scene.target")}
    )
    stage = Stage(lambda name: getattr(parts, name), Path(preferences.data))
    stage.settle()
    job = stage.generate()
    say(f"Blender {bpy.app.version_string}: milliseconds on the clock, and of the main thread's own computing")
    computed = {}
    rows: list[tuple[Form, int]] = [("mesh", 0), ("positions", 0), ("colours", 0)]
    for form, side in rows + [("texture", side) for side in chosen.textures]:
        taken = ticks(stage, parts.pump.pump, job, previews(job, form, chosen.faces, side, chosen.rounds))
        (clock, late), (own, late_own) = np.percentile(taken[2:], [50, 95], axis=0).T
        name = f"{form} {side}" if side else form
        computed[name] = own
        say(f"{name:<12} median {clock:5.1f} ({own:5.1f}), 95 % {late:5.1f} ({late_own:5.1f}), wanted {WANTED[form]}")
    imported = np.median(glb_imports(stage.object(job), 5), axis=0)
    ratios = ", ".join(f"{name} {imported[1] / own:.0f}" for name, own in computed.items())
    say(f"GLB import median {imported[0]:5.0f} ({imported[1]:5.0f}); as many ticks: {ratios}")


if __name__ == "__main__":
    main()
