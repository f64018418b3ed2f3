"""``dreamcraft3d keys show``, ``add``, ``list`` and ``remove``: which machines may use this one's backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dreamcraft3d.errors import UserError
from dreamcraft3d_protocol.connection import default_data_folder, keys_of
from dreamcraft3d_protocol.keys import LOCAL, KeyFolder

app = typer.Typer(no_args_is_help=True, help="Who may use this machine's backend: show, add, list, remove.")

Data = Annotated[Path | None, typer.Option("--data", help="The data folder that is served.")]
DASHED = {"ignore_unknown_options": True}
"""For what may begin with a dash: one key in 85 does."""
Name = Annotated[str, typer.Argument(help="What you call the client: letters, digits, - and _.")]


@app.command()
def show(
    endpoint: Annotated[str, typer.Option(help="Where others reach it: tcp://HOST:PORT.")] = "",
    output: Annotated[Path | None, typer.Option(help="A file to write, which the add-on reads.")] = None,
    data: Data = None,
) -> None:
    """Show the backend's public key, which a client elsewhere needs; it is no secret."""
    public = _keys(data).server_pair().public.decode()
    if output is None:
        typer.echo(public)
        return
    try:
        output.write_text(json.dumps({"endpoint": endpoint, "server_public_key": public}, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.", "Name another file.") from None
    typer.echo(f"{output} holds the address and the public key, for the add-on's preferences.")


@app.command(context_settings=DASHED)
def add(
    name: Name, public_key: Annotated[str, typer.Argument(help="The client's public key.")], data: Data = None
) -> None:
    """Let a client in, from now on."""
    keys = _keys(data)
    _not_local(name)
    given = public_key.strip().encode()
    held = {known: key for key, known in keys.enrolled().items()}.get(name)
    if held is not None and held != given:
        raise UserError(f"{name} is enrolled with another key.", f"First: dreamcraft3d keys remove {name}")
    keys.enrol(given, name)
    typer.echo(f"{name} may connect from now on.")


@app.command("list")
def list_keys(data: Data = None) -> None:
    """List who may connect."""
    for key, name in sorted(_keys(data).enrolled().items(), key=lambda known: known[1]):
        typer.echo(f"{name:<20}{key.decode()}" + ("  (this machine)" if name == LOCAL else ""))


@app.command(context_settings=DASHED)
def remove(name: Name, data: Data = None) -> None:
    """Let a client connect no more; one that is connected is heard no longer, a second later."""
    keys = _keys(data)
    _not_local(name)
    if not keys.strike(name):
        raise UserError(f"Nobody is enrolled as {name}.", "See: dreamcraft3d keys list")
    typer.echo(f"{name} cannot connect any more.")


def _keys(data: Path | None) -> KeyFolder:
    return keys_of(data or default_data_folder())


def _not_local(name: str) -> None:
    if name == LOCAL:
        raise UserError(f"{LOCAL} is this machine itself.", "Choose another name.")
