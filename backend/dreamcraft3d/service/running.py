"""One job in the worker: its run's folder, the driver, and what becomes of it, in a sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

from dreamcraft3d import __version__
from dreamcraft3d.errors import UserError
from dreamcraft3d.export.formats import write_ply
from dreamcraft3d.pipeline.driver import Driver, Stopped
from dreamcraft3d.pipeline.log import Logged
from dreamcraft3d.pipeline.run_folder import Request, RunFolder
from dreamcraft3d.plan.choose import first_means
from dreamcraft3d.priors.embedded import EmbeddedPrior
from dreamcraft3d.priors.memory import ran_out_of_memory
from dreamcraft3d.service.artefacts import Artefacts
from dreamcraft3d.service.folder import DISK_FULL, FULL
from dreamcraft3d.service.line import Line
from dreamcraft3d.service.order import Order, order_file
from dreamcraft3d.service.result import write_result
from dreamcraft3d.service.watching import Watch
from dreamcraft3d.service.worker_messages import Done, Failed, Run
from dreamcraft3d.service.worker_messages import Stopped as StoppedJob
from dreamcraft3d.shape.mesh import Mesh
from dreamcraft3d_protocol.arrays import Array
from dreamcraft3d_protocol.messages import Fault, Message

log = logging.getLogger(__name__)

ROOM_BYTES = 16 << 20
"""A disk with less than this left is the likely cause of whatever could not be written."""


def load_models() -> torch.device:
    """Load what every job needs, to see that it can be loaded; returns the device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    EmbeddedPrior.load(device=device)
    return device


def device_name(device: torch.device) -> str:
    """A graphics card's; else empty."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def answers(device: torch.device) -> bool:
    """Whether a device can still be used: after some faults CUDA gives a process the same error for ever."""
    if device.type == "cuda":
        try:
            torch.cuda.synchronize(device)
        except RuntimeError as error:
            log.error("the graphics card does not answer this process any more", exc_info=error)
            return False
    return True


def run_job(run: Run, line: Line) -> Message:
    """Do a job or go on with it; whatever happens, there is an answer."""
    folder = Path(run.folder)
    try:
        order = Order.model_validate_json(order_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Failed(run.job, 0.0, _fault(error, folder))
    stop, advance = (partial(ask, run.job) for ask in (line.wants_stop, line.wants_next))
    watch = Watch(run.job, run.begun, order.until, line.tell, stop, advance)
    try:
        made, request = _open_run(folder, order, Artefacts(Path(run.artefacts)))
        with Logged(watch, made, curves_title(order)) as logged:
            metrics = Driver(request, made, logged, first_means).run()
        write_result(folder, *_result(folder, made, metrics))
    except Stopped:
        return StoppedJob(run.job, watch.seconds)
    except Exception as error:  # whatever it is, the job ends with a sentence, and the process goes on
        return Failed(run.job, watch.seconds, _fault(error, folder))
    return Done(run.job, watch.seconds)


def curves_title(order: Order) -> str:
    """What TensorBoard calls a job's curves, so that one is told from another: ``a red mushroom, draft, seed 1``."""
    words = re.sub(r"[^\w -]+", " ", order.prompt)[:60].strip() or "picture"
    return f"{words}, {order.preset.name}, seed {order.seed}"


def _open_run(folder: Path, order: Order, artefacts: Artefacts) -> tuple[RunFolder, Request]:
    """The run's folder ``object/``, made the first time."""
    path = folder / "object"
    if (path / "config.json").is_file():
        return RunFolder.open(path)
    shutil.rmtree(path, ignore_errors=True)
    kept = {role: _kept(artefacts, name) for role, name in _given(order).items()}
    if kept["mesh"] is not None:
        kept["mesh"] = _as_file(kept["mesh"], folder)
    made, copies = RunFolder.create(folder / "object.glb", kept)
    if order.start is not None:
        result, reference = artefacts.path(order.start.result), _kept(artefacts, order.start.reference)
        made.start_from(result, reference, order.prompt)
    request = Request(
        output="object.glb",
        prompt=order.prompt,
        negative=order.negative,
        **copies,
        preset=order.preset,
        seed=order.seed,
        first=order.first,
        until=order.until,
        version=__version__,
        start=None if order.start is None else order.start.stage,
        anew=order.start is None or order.start.reference is None,
    )
    made.write_request(request)
    return made, request


def _given(order: Order) -> dict[str, str | None]:
    """What was given, by its role in the run."""
    return {"image": order.picture, "mesh": order.mesh, "uv_texture": order.texture, "uv_mask": order.mask}


def _kept(artefacts: Artefacts, name: str | None) -> Path | None:
    return None if name is None else artefacts.path(name)


def _as_file(npz: Path, folder: Path) -> Path:
    """A given mesh as a file that a run reads: a PLY, or as it is if its UV map is kept."""
    with np.load(npz, allow_pickle=False) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file.files}
    if "uv" in tensors:
        return Path(shutil.copyfile(npz, folder / "mesh.npz"))
    write_ply(folder / "mesh.ply", Mesh(tensors["vertices"], tensors["faces"].long(), tensors.get("colours")))
    return folder / "mesh.ply"


def _result(
    folder: Path, run: RunFolder, metrics: dict[str, object] | None
) -> tuple[dict[str, float], dict[str, Array]]:
    """What the client is sent."""
    if metrics is None:
        reference = load_file(run.result("reference"))
        data = io.BytesIO()
        _cut_out(reference["rgb"][0], reference["mask"][0]).save(data, "PNG")
        return {}, {"picture": np.frombuffer(data.getvalue(), np.uint8)}
    arrays: dict[str, Array] = dict(load_file(run.result("final")))
    for name, path in {"texture": run.path / "object.png", "glb": folder / "object.glb"}.items():
        arrays[name] = np.frombuffer(path.read_bytes(), np.uint8)
    return _flat(metrics), arrays


def _cut_out(rgb: Array, mask: Array) -> Image.Image:
    """A picture (S, S, 3) on white and its coverage (S, S, 1) as one that is transparent around the object."""
    colour = (rgb - (1 - mask)) / np.maximum(mask, 1 / 255)
    rgba = np.concatenate([colour, mask], axis=-1).clip(0, 1)
    return Image.fromarray((rgba * 255).round().astype(np.uint8), "RGBA")


def _flat(metrics: dict[str, object]) -> dict[str, float]:
    """The numbers among the metrics, and those of their groups, by their own names."""
    groups = [metrics, *(metrics[name] for name in ("reference_view", "mesh", "texture"))]
    merged = {name: value for group in groups if isinstance(group, dict) for name, value in group.items()}
    return {n: float(v) for n, v in merged.items() if isinstance(v, int | float) and np.isfinite(v)}


def _without_room(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < ROOM_BYTES
    return False


def _fault(error: Exception, folder: Path) -> Fault:
    cause = (error.__cause__ or error.__context__) if isinstance(error, UserError) else error
    full = isinstance(cause, OSError) and cause.errno in FULL
    if full or (not isinstance(error, UserError) and _without_room(folder)):
        log.error("the disk is full", exc_info=error)
        return Fault("disk", DISK_FULL, "Free some space there.", "")
    if cause is not None and ran_out_of_memory(cause):
        log.error("out of memory", exc_info=error)
        sentence, hint = (error.sentence, error.hint) if isinstance(error, UserError) else ("Memory ran out.", "")
        return Fault("memory", sentence, hint or "Close other programs, then resume the job.", "resume")
    if isinstance(error, UserError):
        log.info("the job cannot be done: %s", error)
        here = f"{folder / 'object'}/"  # of no use to the artist, who knows nothing of such folders
        sentence, hint = (text.replace(here, "")[:1000] for text in (error.sentence, error.hint))
        return Fault("user", sentence, hint, "edit")
    log.error("a bug", exc_info=error)
    return Fault(
        "bug", "Something went wrong that should not have.", "worker.log in the data folder says more.", "resume"
    )
