"""`ltgen-bench method ...`: describe a method, or check it against the contract."""

import inspect
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import Commands, labelled, print_finding, print_json
from ltgen_bench.cli.options import table_values
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.experiments.check.finding import Finding
    from ltgen_bench.methods.describe_methods import MethodDescription

INDENT = 14


@click.group(cls=Commands)
def method() -> None:
    """Show a method, or check one of your own."""


@method.command(name="show")
@click.argument("name", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def method_show(name: str, as_json: bool) -> None:
    """Show objective, settings, source, evidence, citations and recipes of a method.

    \b
    ltgen-bench method show cbdm
    ltgen-bench method show my_method.py
    """
    from rich.console import Console

    from ltgen_bench.experiments.speed.speed_rows import shipped_costs
    from ltgen_bench.methods.describe_methods import describe_method

    described = describe_method(_registered(name))
    recipes, costs = _recipes(described.name), shipped_costs()
    cost = costs.relative.get(described.name)
    if as_json:
        print_json({**asdict(described), "cost": cost, "cost_measured_on": costs.where, "recipes": recipes})
    else:
        words = "not measured   (ltgen-bench list methods --measure)" if cost is None else \
            f"{cost:.2f} of ddpm's training time an image, on {costs.where}"
        click.echo(_page(described, recipes, words, Console().width), nl=False)


@method.command(name="check")
@click.argument("name", metavar="FILE|NAME")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Check it with this setting, e.g. method.power=2.")
@click.option("--json", "as_json", is_flag=True, help="Print only the results, as JSON.")
def method_check(name: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Check a method of your own against the contract that all methods here meet.

    FILE is what --method-file takes; NAME is an installed method. Tries each requirement on a tiny network and small images:
    finite losses, random numbers, batches of one image, continuing after an interruption, samples, and more. Each failure is
    explained, and the exit code is then 2. Takes a few seconds.

    \b
    ltgen-bench method check my_method.py
    ltgen-bench method check my_method.py --set method.power=2
    """
    from rich.console import Console

    registered, values = _registered(name), table_values("method", {}, settings, "this checks the method alone")
    from ltgen_bench.config.schema import MethodConfig
    from ltgen_bench.experiments.check.contract import REQUIREMENTS, check_method
    from ltgen_bench.experiments.check.trial import Trial
    from ltgen_bench.methods import method_settings

    method_settings(MethodConfig(name=registered, **values), where="--set")
    begin, findings = time.monotonic(), list["Finding"]()
    with tempfile.TemporaryDirectory() as folder:
        for finding in check_method(Trial(registered, Path(folder), values)):
            if not as_json:
                print_finding(finding.state, finding.name)
                # repeated explanations are printed once
                words = "the same as above" if any(finding.figure == other.figure for other in findings) else finding.figure
                click.echo("".join(f"{line}\n" for line in labelled("", words, 7, Console().width) if finding.figure), nl=False)
            findings.append(finding)
    failed = sum(finding.state == "FAILED" for finding in findings)
    seconds, left = time.monotonic() - begin, len(REQUIREMENTS) - len(findings)
    if as_json:
        lines = [{"name": finding.name, "state": finding.state, "words": finding.figure} for finding in findings]
        print_json({"method": registered, "failed": failed, "seconds": round(seconds, 1), "findings": lines})
    else:
        summary = f"{failed} of {len(findings)} requirements FAILED" if failed else \
            f"{registered} keeps the contract ({len(findings)} requirements)"
        click.echo(f"{summary}, in {seconds:.0f} s{f'; the other {left} need a loss that works' if left else ''}")
    click.get_current_context().exit(2 if failed else 0)


def _registered(name: str) -> str:
    """Return the name of a registered method; a file is registered first."""
    from ltgen_bench.methods import METHODS, add_method_file

    if not name.endswith(".py") and not Path(name).is_file():
        return METHODS.check(name)
    try:
        return add_method_file(Path(name))
    except UserError as error:
        raise UserError(str(error).removeprefix("--method-file: ")) from error


def _recipes(name: str) -> dict[str, str]:
    """Return `data set/method` -> budget and sampling, for the shipped recipes of a method."""
    from ltgen_bench.cli.run_notes import recipe_words
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.experiments.recipes import shipped_recipes

    found = {path: RunConfig.from_recipe(path) for path in shipped_recipes()}
    return {f"{path.parent.name}/{path.stem}": recipe_words(config) for path, config in found.items()
            if config.method.name == name}


def _page(described: "MethodDescription", recipes: Mapping[str, str], cost: str, width: int) -> str:
    """Return the description of a method, at most `width` columns wide; formulas keep their lines."""
    from ltgen_bench.experiments.recipes import stand_in

    facts = {"source": described.source, "evidence": f"{described.evidence}: {described.evidence_words}",
             "extra passes": described.extra_forwards, "cost": cost,
             **{f"under {process}": words for process, words in described.processes.items()},
             "guidance": "with omega" if described.guidable else "none, since it teaches no null label",
             "cite": f"{', '.join(described.cites)}   (ltgen-bench cite {described.name})" if described.cites else "no paper"}
    lines = [f"{described.name}: {described.summary}", "", *_prose(described.objective, width), ""]
    lines += [line for word, text in facts.items() for line in labelled(word, text, INDENT, width)]
    lines += ["", "settings" if described.settings else "no settings"]
    for setting in described.settings:
        lines += ["", f"  method.{setting.name} = {setting.default}", *labelled("", setting.allowed, 6, width),
                  *labelled("", setting.description, 6, width)]
    lines += ["", "variants, by --set method.variant=NAME"] if described.variants else []
    for name, values in described.variants.items():
        lines += ["", f"  {name}", *(f"      {key} = {value}" for key, value in values.items())]
    lines += ["", "recipes" if recipes else f"no recipe of its own: it takes that of {stand_in(described.name)}"]
    indent = 4 + max(map(len, recipes), default=0)
    lines += [line for name, words in recipes.items() for line in labelled(f"  {name}", words, indent, width)]
    return "\n".join([*lines, ""])


def _prose(text: str, width: int) -> list[str]:
    """Return paragraphs wrapped to `width`; what is indented is a formula or a list and stays as it is."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        as_it_is = any(line.startswith((" ", "-", "*")) for line in paragraph.splitlines())
        lines += ["", *(paragraph.splitlines() if as_it_is else labelled("", paragraph, 0, width))]
    return lines[1:]
