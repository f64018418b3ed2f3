"""``dreamcraft3d models list``, ``download`` and ``verify``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from dreamcraft3d.errors import UserError

if TYPE_CHECKING:
    from dreamcraft3d.models.catalogue import Model

app = typer.Typer(no_args_is_help=True, help="The full-size models: list, download, verify.")
console = Console(stderr=True)

Name = Annotated[str, typer.Argument(help="A name of `dreamcraft3d models list`.")]


@app.command("list")
def list_models() -> None:
    """List the models, what they are for, their size and licence, and whether they are here."""
    from dreamcraft3d.models.catalogue import catalogue
    from dreamcraft3d.models.folder import is_present, models_folder

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "for", "GB", "licence", "here"):
        table.add_column(heading, justify="right" if heading == "GB" else "left", no_wrap=heading == "name")
    for model in catalogue().values():
        here = "yes" if is_present(model) else "no"
        table.add_row(model.name, ", ".join(model.roles), f"{model.gigabytes:.1f}", licence_words(model), here)
    Console().print(table)
    console.print(f"Models lie in {models_folder()}.", soft_wrap=True, highlight=False)
    if not all(model.verified for model in catalogue().values()):
        console.print("? : not yet read on the model's own page.", highlight=False)


def licence_words(model: Model) -> str:
    """The licence with what it asks for, and a question mark where it was not read on the model's page."""
    flags = ["non-commercial"] * model.non_commercial + ["gated"] * model.gated
    return model.licence + (f" ({', '.join(flags)})" if flags else "") + (" ?" if not model.verified else "")


@app.command()
def download(
    name: Name,
    mirror: Annotated[str | None, typer.Option(help="The only repository to ask, OWNER/NAME.")] = None,
    accept_licence: Annotated[
        str | None, typer.Option("--accept-licence", help="The licence you accept, as `list` names it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: progress as one JSON object a line.")] = False,
) -> None:
    """Get a model from the hub; what is already here is not loaded again."""
    from dreamcraft3d.models.catalogue import find_model
    from dreamcraft3d.models.download import download as get
    from dreamcraft3d.models.folder import model_folder

    model = find_model(name)
    if model.non_commercial:
        _confirm_licence(model, accept_licence)
    if as_json:
        _download_for_a_program(model, mirror)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=None)

        def told(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        lock = get(model, told, progress.console.print, mirror)
    console.print(f"{name} from {lock.repository} is in {model_folder(name)}.", soft_wrap=True, highlight=False)


def _download_for_a_program(model: Model, mirror: str | None) -> None:
    """As JSON lines: bytes ``done`` of ``total``, what is ``said``, and in the end perhaps ``sentence`` and ``hint``."""
    from dreamcraft3d.models.download import download as get

    def write(values: dict[str, str | int]) -> None:
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()

    try:
        get(
            model,
            lambda done, total: write({"done": done, "total": total}),
            lambda said: write({"said": said}),
            mirror,
        )
    except UserError as error:
        write({"sentence": error.sentence, "hint": error.hint})
        raise typer.Exit(2) from None


def _confirm_licence(model: Model, accepted: str | None) -> None:
    """Raises UserError unless the user accepts a licence that forbids commercial use."""
    told = f"The licence of {model.name}, {model.licence}, forbids commercial use"
    if accepted == model.licence:
        return
    if accepted is None and console.is_terminal:
        console.print(f"{told}: https://huggingface.co/{model.repositories[0]}", highlight=False)
        if typer.confirm("Do you accept it?", err=True):
            return
    raise UserError(f"{told}.", f"Accept it by --accept-licence {model.licence}.")


@app.command()
def verify(name: Annotated[str | None, typer.Argument(help="One model; all that are here by default.")] = None) -> None:
    """Check that the files are here, and their sizes and SHA-256."""
    from dreamcraft3d.models.catalogue import catalogue, find_model
    from dreamcraft3d.models.folder import check, is_present

    models = [find_model(name)] if name else [m for m in catalogue().values() if is_present(m)]
    if not models:
        raise UserError("No models are here.", "Get one by `dreamcraft3d models download NAME`.")
    bad = []
    for model in models:
        verdicts = check(model)
        for verdict in verdicts:
            typer.echo(f"{verdict.state:<15}{model.name}{'/' if verdict.file else ''}{verdict.file}")
        if not all(verdict.good for verdict in verdicts):
            bad.append(model.name)
    if bad:
        raise UserError(f"Not whole: {', '.join(bad)}.", f"Mend by `dreamcraft3d models download {bad[0]}`.")
