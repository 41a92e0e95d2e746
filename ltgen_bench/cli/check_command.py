"""`ltgen-bench check`: compare this machine's results with known values."""

import math
import time
from dataclasses import asdict

import click

from ltgen_bench.cli.common import print_finding, print_json, terminal_context
from ltgen_bench.cli.options import device_option, weights_files
from ltgen_bench.core.errors import UserError


@click.command()
@click.option("--extractor-weights", multiple=True, metavar="NAME=FILE", help="Also check weights, e.g. inception=FILE.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print only the results, as JSON.")
def check(extractor_weights: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Check that this machine computes what it should.

    Compares metrics with closed forms and features with stored ones, and checks versions, memory, disk and weights files: one
    line per check, with the figure and its bound. The exit code is 1 where a check failed. Takes some seconds. Weights files
    are never unpickled, and their checksum is verified.

    \b
    ltgen-bench check
    ltgen-bench check --extractor-weights inception=weights.pth
    """
    weights = weights_files(extractor_weights)
    from ltgen_bench.evaluation.extractors import EXTRACTORS

    for name, path in weights.items():
        if not EXTRACTORS[name].fetched:
            raise UserError(f"--extractor-weights {name}={path}: {name} takes no weights file; leave this option out.")
    begin = time.monotonic()
    from ltgen_bench.config.schema import DataConfig
    from ltgen_bench.data import load_dataset
    from ltgen_bench.evaluation.features.reference_features import DATASET
    from ltgen_bench.experiments.check import run_checks
    from ltgen_bench.experiments.check.finding import Machine
    from ltgen_bench.runtime.device import hardware, versions

    context, findings = terminal_context(device, weights=weights), []
    for finding in run_checks(Machine(load_dataset(DataConfig(name=DATASET)), context)):
        findings.append(finding)
        if not as_json:
            bound = f"  ({finding.bound})" if finding.bound else ""
            print_finding(finding.state, f"{finding.name:<50} {finding.figure}{bound}")
    failed = sum(finding.state == "FAILED" for finding in findings)
    seconds = time.monotonic() - begin
    if as_json:
        lines = [{**asdict(finding), "value": None if math.isnan(finding.value) else finding.value} for finding in findings]
        print_json({"failed": failed, "seconds": round(seconds, 1), "findings": lines,
                    "machine": {**hardware(context.device), **versions()}})
    else:
        checked = sum(finding.state != "note" for finding in findings)
        click.echo(f"{f'{failed} of {checked} checks FAILED' if failed else f'all {checked} checks ok'}, in {seconds:.0f} s")
    click.get_current_context().exit(1 if failed else 0)
