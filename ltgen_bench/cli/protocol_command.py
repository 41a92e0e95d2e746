"""`ltgen-bench protocol ...`: describe a protocol id, and compare protocols."""

from pathlib import Path

import click

from ltgen_bench.cli.common import Commands, print_json
from ltgen_bench.cli.options import runs_option

NAME = "ID|RUN|PRESET"


@click.group(cls=Commands)
def protocol() -> None:
    """Show what a protocol id, a run or a preset measures, or what two differ in."""


@protocol.command(name="show")
@click.argument("name", metavar=NAME)
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@runs_option
def protocol_show(name: str, as_json: bool, runs: Path) -> None:
    """Show every field of a protocol in words.

    Of a run or a preset, all its protocols are shown: first what they share, then the rest of each.
    """
    from rich.console import Console

    from ltgen_bench.report.lookup import find
    from ltgen_bench.report.protocol_text import show_text

    found = find(name, runs)
    if as_json:
        described = {key: {"id": found.ids[key], **fields} if key in found.ids else fields
                     for key, fields in found.measurements.items()}
        print_json({found.kind: found.name, "measurements": described})
    else:
        click.echo(show_text(found, Console().width), nl=False)


@protocol.command(name="diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
@runs_option
def protocol_diff(a: str, b: str, as_json: bool, runs: Path) -> None:
    """Show what two protocols differ in.

    A and B are each an id, a run or a preset; their protocols are paired by metric and extractor.
    """
    from rich.console import Console

    from ltgen_bench.report.lookup import find
    from ltgen_bench.report.protocol_text import compared, diff_text, only

    first, second = find(a, runs), find(b, runs)
    if as_json:
        print_json({"a": str(first), "b": str(second), "differ": compared(first, second), "only_a": only(first, second),
                    "only_b": only(second, first)})
    else:
        click.echo(diff_text(first, second, Console().width), nl=False)
