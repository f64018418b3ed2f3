"""``dreamcraft3d plan``: what each stage of a preset will hold on a card, and by which means it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from dreamcraft3d.errors import UserError

if TYPE_CHECKING:
    from dreamcraft3d.plan.choose import StagePlan


def _table(stage: StagePlan) -> Table:
    """The stage's fullest moment, item by item, in GiB; and how full the other moments are."""
    from dreamcraft3d.plan.choose import GIB

    verdict = "[green]fits[/green]" if stage.fits else "[red]does not fit[/red]"
    table = Table(title=f"[bold]{stage.stage}[/bold] {verdict}", title_justify="left", title_style="", box=None)
    table.add_column(f"fullest when: {stage.largest.name}", min_width=44)
    table.add_column("GB", justify="right")
    for name, size in sorted(stage.largest.items.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{size / GIB:.2f}")
    table.add_row("[bold]together[/bold]", f"[bold]{stage.largest.total / GIB:.2f}[/bold]")
    for moment in stage.moments:
        if moment is not stage.largest:
            table.add_row(f"[dim]else when: {moment.name}[/dim]", f"[dim]{moment.total / GIB:.2f}[/dim]")
    return table


def plan(
    preset: Annotated[str, typer.Option("--preset", help="One of `dreamcraft3d presets`.")] = "paper",
    vram: Annotated[
        float, typer.Option(min=1.0, help="The card's memory, in GB as cards are sold (2^30 bytes).")
    ] = 24.0,
) -> None:
    """Say, stage by stage, what will be in the graphics card's memory, and by which means it fits."""
    from dreamcraft3d.pipeline.config import load_preset
    from dreamcraft3d.plan.choose import GIB, RESERVE, plan_run

    plans = plan_run(load_preset(preset), vram)
    console = Console(highlight=False)
    console.print(f"{preset} on {vram:g} GB, {RESERVE / GIB:g} GB of which is left to the driver")
    for stage in plans:
        console.print()
        console.print(_table(stage))
        console.print(f"by: {'; '.join(stage.sentences) or 'nothing; it fits as it is'}", soft_wrap=True)
    tight = [stage for stage in plans if not stage.fits]
    if tight:
        most = max(stage.largest.total for stage in tight) + RESERVE
        raise UserError(
            f"{preset} does not fit on {vram:g} GB: {', '.join(stage.stage for stage in tight)} cannot.",
            f"A card of {most / GIB:.0f} GB would do, or a preset with smaller models or pictures, such as 12gb.",
        )
