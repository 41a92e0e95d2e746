"""`ltgen-bench data ...`: show, verify and export a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.cli.common import Commands, labelled, print_json, terminal_progress
from ltgen_bench.cli.options import FILE, FOLDER, data_config, data_options, data_values
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.config.schema import DataConfig

SHOWN = 20  # classes; of more, the first and the last ones


@click.group(cls=Commands)
def data() -> None:
    """Show, verify or export a data set and its long-tailed split."""


@data.command()
@click.argument("dataset")
@data_options
@click.option("--plot", type=FILE, metavar="FILE.png", help="Also write a chart of the class counts to this file.")
@click.option("--all", "every", is_flag=True, help="List every class.")
@click.option("--json", "as_json", is_flag=True, help="Print only JSON.")
def show(dataset: str, data_root: Path, plot: Path | None, every: bool, as_json: bool, **options: Any) -> None:
    """Show class counts, groups, fingerprint and reference sets of DATASET, and a chart of its class counts.

    \b
    ltgen-bench data show cifar10-lt-50
    ltgen-bench data show folder:photos --imbalance-factor 100 --profile pareto:6
    """
    config = data_config(dataset, data_values(options))
    facts, missing = _facts(config, data_root)
    if plot is not None:
        from ltgen_bench.report.class_counts import class_count_plot

        class_count_plot(facts["class_counts"], facts["classes"], facts["groups"], facts["name"], plot)
    if as_json:
        print_json(facts)
        return
    _print(config, facts, missing, every)
    if plot is not None:
        click.echo(f"\nplot  {plot}")


def _facts(config: "DataConfig", data_root: Path) -> tuple[dict[str, Any], str]:
    """Return (description, why it is incomplete); without the images the description is that of the shipped manifest."""
    from ltgen_bench.data import load_dataset
    from ltgen_bench.data.catalog import find_source
    from ltgen_bench.data.describe import describe, describe_manifest
    from ltgen_bench.data.load import dataset_name, shipped_split
    from ltgen_bench.data.source_kinds import OPTION_FORMS, refuse_options

    split, source = shipped_split(config), find_source(config.name)
    fetched = any((data_root / name).exists() for name in source.local_files) or not source.local_files
    if split is not None:
        refuse_options(config, *OPTION_FORMS)  # a mistake, for which no manifest makes up
    try:
        if split is None or fetched:
            return describe(load_dataset(config, data_root=data_root, progress=terminal_progress())), ""
        missing = f"{source.content.upper()} is not under {data_root}/; `ltgen-bench data verify {config.name}` fetches it"
    except UserError as error:
        if split is None:
            raise
        missing = str(error)
    return describe_manifest(dataset_name(config, source, split), split, source), missing


@data.command()
@click.argument("dataset", required=False)
@data_options
@click.option("--update", is_flag=True, help="Accept the present content of files that changed since they were read.")
def verify(dataset: str | None, data_root: Path, update: bool, **options: Any) -> None:
    """Recompute checksums and fingerprint of DATASET, or of all splits that ship with the package."""
    from ltgen_bench.data.verify import verify as check
    from ltgen_bench.data.verify import verify_manifests

    if dataset is None:
        lines = verify_manifests()
    else:
        config = data_config(dataset, data_values(options))
        lines = check(config, data_root=data_root, progress=terminal_progress(), update=update)
    for line in lines:
        click.echo(line)
    click.echo("all as it should be")


@data.command()
@click.argument("dataset")
@click.option("--out", type=FOLDER, required=True, help="New folder to write.")
@data_options
@click.option("--reference", is_flag=True, help="Also write the balanced reference set.")
def export(dataset: str, out: Path, data_root: Path, reference: bool, **options: Any) -> None:
    """Write the split of DATASET as an image folder, with its manifest, for other programs.

    The folder reads back as `--dataset folder:OUT`.
    """
    from ltgen_bench.data import load_dataset
    from ltgen_bench.data.folder_export import export as write

    progress = terminal_progress()
    loaded = load_dataset(data_config(dataset, data_values(options)), data_root=data_root, progress=progress)
    for folder in write(loaded, out, reference=reference, progress=progress):
        click.echo(str(folder))
    click.echo(str(out / "split.json"))


def _print(config: "DataConfig", facts: dict[str, Any], missing: str, every: bool) -> None:
    from rich.console import Console

    from ltgen_bench.data.catalog import find_source
    from ltgen_bench.data.describe import curve, group_lines, reference_words, size_words, split_words
    from ltgen_bench.data.overlap import equal_words
    from ltgen_bench.data.parts import origin_words

    source, image, split = find_source(config.name), facts["image"], facts["split"]
    counts, names, sizes = facts["class_counts"], facts["classes"], facts["references"]
    click.echo(facts["name"])
    lines = [("what", source.images or source.summary), ("source", source.source), ("licence", source.licence)]
    lines += [("files" if not at else "", f"{file} {checksum}") for at, (file, checksum) in enumerate(source.checksums)]
    if image is not None:
        colours = "1 channel" if image["channels"] == 1 else f"{image['channels']} channels"
        mirrored = "" if facts["mirrored"] else "not "
        lines.append(("images", f"{image['width']} x {image['height']}, {colours}, {mirrored}mirrored in training"))
    lines += [
        ("training", f"{size_words(sizes['longtail'])}, {len(names)} classes ({split_words(facts)})"),
        ("split", f"{split['sha256'][:16]} ({'shipped manifest' if split['shipped'] else 'manifest'}; source "
         f"{split['source'][:18]}...)")]
    if missing:
        lines.append(("images", f"not available, so there is no fingerprint: {missing}"))
    else:
        lines.append(("fingerprint", f"{facts['fingerprint']} (pixels of training, reference and test images)"))
        words = reference_words(facts)
        lines += [("reference" if name == "train" else "", f"{name}: {words[name]}, {size_words(own)}"
                   f"{' (default)' if name == facts['default_reference'] else ''}") for name, own in sizes.items()]
        lines.append(("overlap", equal_words(facts["test_equal_to_training"], sizes["test"]["images"])) if "test" in sizes else
                     ("test", origin_words(facts["test_part"])))
    if source.recipes is not None:
        lines.append(("recipes", f"baselines/{source.recipes}/"))
    _echo(lines)
    click.echo()
    for line in curve(counts, min(Console().width, 100)):
        click.echo(line)
    click.echo()
    _echo(group_lines(facts["groups"], counts, names))
    click.echo()
    order = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    folded = len(order) > SHOWN and not every
    for label in order[:SHOWN // 2] if folded else order:
        click.echo(f"{label:>5}  {counts[label]:>8,}  {names[label]}")
    if folded:
        click.echo(f"{'...':>5}  {len(order) - SHOWN} more (--all lists them)")
        for label in order[-SHOWN // 2:]:
            click.echo(f"{label:>5}  {counts[label]:>8,}  {names[label]}")


def _echo(lines: list[tuple[str, str]]) -> None:
    """Print aligned `name  words` lines, the words wrapped."""
    from rich.console import Console

    indent, width = max(len(name) for name, _ in lines) + 2, Console().width
    for name, words in lines:
        click.echo("\n".join(labelled(name, words, indent, width)))
