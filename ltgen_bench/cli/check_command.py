"""`ltgen-bench check`: compare this machine's results with known values."""

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.cli.common import STYLES
from ltgen_bench.cli.options import debug_option, device_option, weights_files
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ltgen_bench.experiments.check.finding import Finding


@click.command()
@click.option("--extractor-weights", multiple=True, metavar="NAME=FILE", help="Also check weights, e.g. inception=FILE.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print only the results, as JSON.")
@debug_option
def check(extractor_weights: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Check that this machine computes what it should.

    Compares metrics with closed forms and features with stored ones, and checks versions, memory, disk and weights files: one
    line per check, with the figure and its bound. The exit code is 1 where a check failed. Takes some seconds. Weights files
    are never unpickled, and their checksum is verified.

    \b
    ltgen-bench check
    ltgen-bench check --extractor-weights inception=weights.pth
    """
    from rich.console import Console

    weights = weights_files(extractor_weights)
    _refuse_untaken(weights)
    begin = time.monotonic()
    from ltgen_bench.config.schema import DataConfig
    from ltgen_bench.data import load_dataset
    from ltgen_bench.evaluation.features.reference_features import DATASET
    from ltgen_bench.experiments.check import run_checks
    from ltgen_bench.experiments.check.finding import Machine
    from ltgen_bench.runtime.device import choose_device, hardware, versions

    chosen = choose_device(device)
    console = Console()
    findings = []
    for finding in run_checks(Machine(load_dataset(DataConfig(name=DATASET)), str(chosen), weights=weights)):
        findings.append(finding)
        if not as_json:
            _line(finding, console)
    failed = sum(finding.state == "FAILED" for finding in findings)
    seconds = time.monotonic() - begin
    if as_json:
        _json(findings, failed, seconds, {**hardware(chosen), **versions()})
    else:
        checked = sum(finding.state != "note" for finding in findings)
        click.echo(f"{failed} of {checked} checks FAILED" if failed else f"all {checked} checks ok", nl=False)
        click.echo(f", in {seconds:.0f} s")
    click.get_current_context().exit(1 if failed else 0)


def _refuse_untaken(weights: dict[str, Any]) -> None:
    from ltgen_bench.evaluation.extractors import EXTRACTORS

    for name, path in weights.items():
        if not EXTRACTORS[name].fetched:
            raise UserError(f"--extractor-weights {name}={path}: {name} takes no weights file; leave this option out.")


def _line(finding: "Finding", console: "Console") -> None:
    from rich.text import Text

    bound = f"  ({finding.bound})" if finding.bound else ""
    line = Text.assemble((f"{finding.state:<6}", STYLES[finding.state]), f" {finding.name:<50} {finding.figure}{bound}")
    console.print(line, soft_wrap=True)


def _json(findings: "list[Finding]", failed: int, seconds: float, machine: dict[str, Any]) -> None:
    lines = [{**asdict(finding), "value": None if finding.value != finding.value else finding.value} for finding in findings]
    click.echo(json.dumps({"failed": failed, "seconds": round(seconds, 1), "findings": lines, "machine": machine}, indent=1,
                          ensure_ascii=False))
