"""The command line: ``dreamcraft3d generate``, ``texture``, ``sculpt``, ``refine``, ``resume``, ``serve``, ``status``,
``jobs``, ``logs``, ``cancel``, ``presets``, ``doctor``, ``models``, ``keys`` and ``plan``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from dreamcraft3d import __version__
from dreamcraft3d.errors import UserError
from dreamcraft3d.models.commands import app as models_app
from dreamcraft3d.plan.commands import plan
from dreamcraft3d.progress_bars import ProgressBars, console
from dreamcraft3d.service.keys_commands import app as keys_app
from dreamcraft3d.service.logs import harmless
from dreamcraft3d.service.logs_command import logs
from dreamcraft3d.service.status_commands import cancel, jobs, status
from dreamcraft3d_protocol.errors import ProtocolError

if TYPE_CHECKING:
    from dreamcraft3d.pipeline.base import Base
    from dreamcraft3d.pipeline.config import StageName
    from dreamcraft3d.pipeline.run_folder import Request, RunFolder

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A picture or a prompt becomes a textured 3D object.",
)
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
for command in (plan, status, jobs, logs, cancel):
    app.command()(command)

Output = Annotated[Path, typer.Option("--output", "-o", help="The GLB to write; the run's folder lies beside it.")]
PresetName = Annotated[str, typer.Option("--preset", help="embedded, draft, or another of `dreamcraft3d presets`.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed makes the same object.")]
Until = Annotated[str, typer.Option(help="The last stage: reference, coarse, geometry or texture.")]
Negative = Annotated[str, typer.Option("--avoid", help='What it shall not be: "a blue mushroom".')]
Image = Annotated[Path | None, typer.Option("--image", help="A picture of the object from its front.")]


def _run(folder: RunFolder, request: Request) -> None:
    from dreamcraft3d.pipeline.driver import Driver, Stopped
    from dreamcraft3d.pipeline.log import Logged
    from dreamcraft3d.plan.choose import first_means

    try:
        with ProgressBars() as bars, Logged(bars, folder) as log:
            metrics = Driver(request, folder, log, first_means).run()
    except (Stopped, KeyboardInterrupt) as stop:
        lost = "nothing is lost" if isinstance(stop, Stopped) else "the last steps may be lost"
        raise UserError(f"Stopped; {lost}.", f"Go on with: dreamcraft3d resume {folder.path}") from None
    if metrics is None:
        console.print(f"The reference picture is {folder.path / 'reference.png'}.")
        return
    made, sheet = folder.path.parent / request.output, folder.path / "stages.png"
    console.print(f"[bold]{made}[/bold] is ready; {sheet} shows how it came about.")


def _start(
    output: Path,
    prompt: str,
    preset: str,
    seed: int,
    until: str,
    first: StageName = "coarse",
    image: Path | None = None,
    mesh: Path | None = None,
    negative: str = "",
    uv_texture: Path | None = None,
    uv_mask: Path | None = None,
    base: Base | None = None,
) -> None:
    from dreamcraft3d.picture.load import load_picture
    from dreamcraft3d.picture.matting import cut_out
    from dreamcraft3d.pipeline.config import EMBEDDED, STAGES, load_preset
    from dreamcraft3d.pipeline.run_folder import Request, RunFolder

    settings = load_preset(preset)
    stages = [s for s in STAGES if s == "reference" or STAGES.index(s) >= STAGES.index(first)]
    if until not in stages:
        raise UserError(f'There is no stage "{until}" here.', f"Stages: {', '.join(stages)}.")
    anew = base is None or bool(prompt) or image is not None
    if base is not None and not anew:
        prompt = base.prompt
    if not prompt and image is None:
        raise UserError("There is nothing to make.", 'Give a prompt, such as "a red mushroom", or --image FILE.')
    for words in (prompt, negative):
        if words and not settings.priors.full:  # full-size models know all words
            _check_prompt(words)
    if image is not None:
        picture = load_picture(image)
        if settings.priors.matting == EMBEDDED:  # a network is too slow to be asked twice
            cut_out(picture)
    output = output if output.suffix.lower() == ".glb" else output.with_name(output.name + ".glb")
    given = {"image": image, "mesh": mesh, "uv_texture": uv_texture, "uv_mask": uv_mask}
    folder, copies = RunFolder.create(output, given if base is None else base.given | {"image": image})
    if base is not None:
        folder.start_from(base.folder.result(base.stage), None if anew else base.folder.result("reference"), prompt)
    request = Request(
        output=output.name,
        prompt=prompt,
        negative=negative,
        **copies,
        preset=settings,
        seed=seed,
        first=first,
        until=until,
        version=__version__,
        start=None if base is None else base.stage,
        anew=anew,
    )
    folder.write_request(request)
    _run(folder, request)


def _check_prompt(prompt: str) -> None:
    from transformers import PreTrainedTokenizerFast

    from dreamcraft3d.priors.embedded import WEIGHTS
    from dreamcraft3d.priors.words import check_words

    check_words(prompt, PreTrainedTokenizerFast.from_pretrained(WEIGHTS / "tokenizer").get_vocab())


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help='What to make: "a red mushroom".')] = "",
    image: Image = None,
    preset: PresetName = "embedded",
    seed: Seed = 0,
    until: Until = "texture",
    output: Output = Path("out/object.glb"),
    negative: Negative = "",
) -> None:
    """Make an object from a prompt, a picture, or both."""
    _start(output, prompt.strip(), preset, seed, until, image=image, negative=negative.strip())


@app.command()
def texture(
    mesh: Annotated[Path, typer.Argument(help="GLB, OBJ, PLY or STL.")],
    prompt: Annotated[str, typer.Argument(help='What it is: "a brown monkey".')],
    image: Image = None,
    keep_uv: Annotated[bool, typer.Option("--keep-uv", help="Paint into the mesh's own UV map and texture.")] = False,
    mask: Annotated[Path | None, typer.Option(help="A picture in that UV map, white where it is repainted.")] = None,
    preset: PresetName = "embedded",
    seed: Seed = 0,
    output: Output = Path("out/textured.glb"),
    negative: Negative = "",
) -> None:
    """Paint a mesh you have."""
    from dreamcraft3d.picture.load import load_texture
    from dreamcraft3d.shape.meshio import load_mesh

    if not keep_uv:
        if mask is not None:
            raise UserError("A mask lies in the mesh's own UV map.", "Add --keep-uv.")
        load_mesh(mesh)
        return _start(output, prompt.strip(), preset, seed, "texture", "texture", image, mesh, negative.strip())
    if mask is not None:
        load_texture(mask)
    with tempfile.TemporaryDirectory() as own:
        given, picture = _own_uv(mesh, Path(own))
        _start(
            output, prompt.strip(), preset, seed, "texture", "texture", image, given, negative.strip(), picture, mask
        )


def _own_uv(mesh: Path, folder: Path) -> tuple[Path, Path]:
    """A mesh and its texture as files that a run keeps them in."""
    import numpy as np

    from dreamcraft3d.shape.meshio import load_uv_mesh
    from dreamcraft3d.shape.uv_map import check_uv

    arrays, picture = load_uv_mesh(mesh)
    check_uv(arrays["vertices"], arrays["faces"], arrays["uv"])
    np.savez(folder / "mesh.npz", **arrays)
    picture.convert("RGB").save(folder / "texture.png")
    return folder / "mesh.npz", folder / "texture.png"


@app.command()
def sculpt(
    mesh: Annotated[Path, typer.Argument(help="GLB, OBJ, PLY or STL.")],
    prompt: Annotated[str, typer.Argument(help='What it shall become: "a small house".')],
    image: Image = None,
    preset: PresetName = "embedded",
    seed: Seed = 0,
    until: Until = "texture",
    output: Output = Path("out/sculpted.glb"),
    negative: Negative = "",
) -> None:
    """Reshape and paint a mesh you have."""
    from dreamcraft3d.shape.meshio import load_mesh

    load_mesh(mesh)
    _start(output, prompt.strip(), preset, seed, until, "geometry", image, mesh, negative.strip())


@app.command()
def refine(
    run: Annotated[Path, typer.Argument(help="The folder of an earlier run, or its GLB.")],
    prompt: Annotated[str, typer.Argument(help="What it shall be now; nothing for what it was.")] = "",
    image: Image = None,
    stage: Annotated[str, typer.Option(help="Of the earlier run, the stage to start from; else its last.")] = "",
    first: Annotated[str, typer.Option(help="The first stage to run; else the one after, or texture again.")] = "",
    until: Until = "texture",
    preset: PresetName = "embedded",
    seed: Seed = 0,
    output: Output = Path("out/refined.glb"),
    negative: Negative = "",
) -> None:
    """Go on from a stage of an earlier run: for more steps of it, or with other words."""
    from dreamcraft3d.pipeline.base import Base

    base = Base.of(run, stage)
    _start(output, prompt.strip(), preset, seed, until, base.first(first), image, None, negative.strip(), base=base)


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="The run's folder, or its GLB.")]) -> None:
    """Go on with a run that was stopped."""
    from dreamcraft3d.pipeline.run_folder import RunFolder

    folder, request = RunFolder.open(run)
    _run(folder, request)


@app.command()
def presets() -> None:
    """List the presets."""
    from dreamcraft3d.pipeline.config import load_preset, preset_names

    for name in preset_names():
        typer.echo(f"{name:<12}{load_preset(name).about}")


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option(help="The folder where jobs are kept.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 0,
    bind: Annotated[
        str, typer.Option(help="An IPv4 address; 0.0.0.0 lets enrolled clients elsewhere in.")
    ] = "127.0.0.1",
    idle_minutes: Annotated[float, typer.Option(min=0.0, help="Leave after so long without clients and jobs.")] = 30.0,
    keep_days: Annotated[
        float | None, typer.Option(min=1.0, help="Delete jobs so many days after they ended; else they are kept.")
    ] = None,
    keep_gigabytes: Annotated[
        float | None, typer.Option(min=0.0, help="Delete the oldest jobs that have ended while the folder takes more.")
    ] = None,
) -> None:
    """Work for Blender: take jobs from clients, keep them, and show them growing."""
    from dreamcraft3d.service import supervisor
    from dreamcraft3d.service.retention import Limits
    from dreamcraft3d_protocol.connection import default_data_folder

    supervisor.serve(data or default_data_folder(), port, idle_minutes, bind, Limits(keep_days, keep_gigabytes))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line.")] = False,
) -> None:
    """Say what this machine has and what the embedded priors need."""
    from dreamcraft3d.doctor import report

    good = True
    for line in report():
        if as_json:
            typer.echo(json.dumps(dataclasses.asdict(line)))
        else:
            console.print(f"[{'green' if line.good else 'red'}]{'ok ' if line.good else 'NO '}[/] {line.text}")
        good &= line.good
    if not good:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; a user's mistake is a sentence on standard error and exit status 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait by spinning starve other programs
    # Nothing else ever asks the hub; the service does not, but hands its environment to downloads.
    if sys.argv[1:3] != ["models", "download"] and sys.argv[1:2] != ["serve"]:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app(standalone_mode=True)
    except UserError as error:
        said = f"[red]{escape(error.sentence)}[/red] {escape(error.hint)}".strip()
        console.print(harmless(said), soft_wrap=True, highlight=False)
        sys.exit(2)
    except ProtocolError as error:
        console.print(f"[red]{escape(str(error))}[/red]", soft_wrap=True, highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
