"""Whether a run that is interrupted again and again ends with the same object as one that is left in peace.

python tests/reliability/resume.py [--preset draft] [--interruptions 10] [--seed 0] [--output FOLDER]

The real command line, on the same seed. At random moments it gets Ctrl-C, which leaves a checkpoint, or SIGKILL, which costs
what was done since the last one; then the run is resumed. The results of all stages and the GLB are compared. Both have one
thread: several add up in an order that changes from run to run, by which the same run differs from itself by some 1e-5.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh
from safetensors.numpy import load_file

from dreamcraft3d.pipeline.run_folder import RunFolder

TOLERANCE = 1e-6
"""World units, or shares of a colour's range."""
PROMPT = "a red mushroom"
STAGES = ("reference", "coarse", "geometry", "texture")

Differences = dict[str, float]


def begin(run: RunFolder, preset: str, seed: int) -> subprocess.Popen[bytes]:
    """Start a run, or go on with it."""
    command = [sys.executable, "-m", "dreamcraft3d.cli"]
    if run.request_file.is_file():
        command += ["resume", str(run.path)]
    else:
        output = str(run.path.with_suffix(".glb"))
        command += ["generate", PROMPT, "--preset", preset, "--seed", str(seed), "--output", output]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=alone, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(run: RunFolder, preset: str, seed: int) -> None:
    status = begin(run, preset, seed).wait()
    if status:
        sys.exit(f"The run ended with status {status}: {run.path}")


def interrupt(run: RunFolder, preset: str, seed: int, seconds: float, how: signal.Signals) -> bool:
    """Let it compute for about so long; returns whether it was still at it."""
    started = time.time()
    process = begin(run, preset, seed)
    while process.poll() is None and not any(file.stat().st_mtime > started for file in files(run)):
        time.sleep(0.02)
    time.sleep(seconds)
    process.send_signal(how)
    process.wait()
    return not run.path.with_suffix(".glb").is_file()


def files(run: RunFolder) -> Iterator[Path]:
    for path in run.path.glob("**/*"):
        if path.is_file():
            yield path


def place(run: RunFolder) -> str:
    """How far it has come, by what is on the disk."""
    stage = next((name for name in STAGES if not run.result(name).is_file()), "export")
    saved = run.load_checkpoint(stage, sys.exit)
    return stage if saved is None else f"{stage}, step {saved[0]}"


def differences(run: RunFolder, other: RunFolder) -> Differences:
    """The largest of each stage's results, and of the GLB's places and colours; infinite where sizes differ."""
    found = {}
    for stage in STAGES:
        ours, theirs = load_file(run.result(stage)), load_file(other.result(stage))
        found[stage] = max(largest(ours[name], theirs[name]) for name in ours)
    ours, theirs = (trimesh.load(r.path.with_suffix(".glb"), force="mesh", process=False) for r in (run, other))
    found["GLB, places"] = max(largest(ours.vertices, theirs.vertices), largest(ours.faces, theirs.faces))
    pictures = (np.asarray(mesh.visual.material.baseColorTexture, np.float32) / 255 for mesh in (ours, theirs))
    found["GLB, colours"] = largest(*pictures)
    return found


def largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0))


def compare(folder: Path, preset: str, interruptions: int, seed: int) -> bool:
    """Run both, say what was found; returns whether they are the same."""
    chance = random.Random(seed)
    peaceful, disturbed = RunFolder(folder / "peaceful"), RunFolder(folder / "disturbed")
    finish(peaceful, preset, seed)
    seconds = sum(stage["seconds"] for stage in peaceful.read_json("progress.json").values())
    say(f"{preset}, seed {seed}: {seconds:.1f} s of computing when left in peace")
    for number in range(interruptions):
        how = signal.SIGKILL if number % 2 else signal.SIGINT
        pause = chance.uniform(0.4, 1) * seconds / (interruptions // 2 + 1)  # what SIGKILL costs is done again
        if not interrupt(disturbed, preset, seed, pause, how):
            say(f"it was done before interruption {number + 1}; try another seed")
            return False
        say(f"{number + 1:>3}  {how.name:<8} resumes at {place(disturbed)}")
    finish(disturbed, preset, seed)
    found = differences(peaceful, disturbed)
    for name, difference in found.items():
        say(f"{name:<13} largest difference {difference:.2g}")
    same = all(difference <= TOLERANCE for difference in found.values())
    say(f"{'the same' if same else 'NOT the same'} within {TOLERANCE:g}")
    return same


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--interruptions", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="an empty folder to keep both runs in")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.output or Path(temporary)
        sys.exit(0 if compare(folder, chosen.preset, chosen.interruptions, chosen.seed) else 1)


if __name__ == "__main__":
    main()
