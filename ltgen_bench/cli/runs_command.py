"""`ltgen-bench runs ...`: list, show and remove runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import Commands, listing
from ltgen_bench.cli.options import runs_option
from ltgen_bench.cli.run_notes import day, show
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.plain_text import printable_lines

if TYPE_CHECKING:
    from ltgen_bench.records.store import StoredRun


@click.group(cls=Commands)
def runs() -> None:
    """List, show or remove runs."""


@runs.command(name="list")
@runs_option
def runs_list(runs: Path) -> None:
    """List all runs, finished or not."""
    from ltgen_bench.records.store import find_runs

    found = find_runs(runs)
    if not found:
        click.echo(f"no runs in {runs}/; make one with: ltgen-bench run")
        return
    listing([(item.name, _state(item), day(item.record) if item.record else "") for item in found], ("run", "state", "finished"))
    for problem in filter(None, (item.problem for item in found)):
        click.echo(printable_lines(problem), err=True)


def _state(item: "StoredRun") -> str:
    """Return the state of a run; for scores also their preset and the half of the real images, if any."""
    if item.record is None:
        return item.state
    words = [item.record.preset, f"{item.record.half} half" if item.record.half else ""]
    return f"{item.state} ({', '.join(filter(None, words))})" if any(words) else item.state


@runs.command(name="show")
@click.argument("name")
@runs_option
def runs_show(name: str, runs: Path) -> None:
    """Show the scores of a run, by its name or the beginning of it: the newest against all real images."""
    from ltgen_bench.records.store import find_run, stored_in

    found = find_run(runs, name)
    beside = [item for item in stored_in(found.folder) if item.record is not None]
    order = {None: 2, "report": 1, "selection": 0}  # of equal ones the last, which is the newest, is the largest
    found = max(reversed(beside), key=lambda item: order.get(item.record.half if item.record else None, 0), default=found)
    if found.record is None:
        raise UserError(found.problem or f"{found.folder} is not finished ({found.state}); repeat its command to continue.")
    show(found.record, found.scores, found.folder)
    for item in beside:
        if item is not found and item.files is not None:
            click.echo(f" also      {item.files.folder} ({_state(item)})")


@runs.command(name="rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@runs_option
def runs_rm(name: str, yes: bool, runs: Path) -> None:
    """Remove a run folder with everything in it."""
    from ltgen_bench.records.store import find_run

    found = find_run(runs, name, method_named=True)
    if not yes and not click.confirm(f"remove {found.folder} with its training, samples and scores?"):
        click.echo("nothing removed")
        return
    found.folder.remove()
    click.echo(f"removed {found.folder}")
