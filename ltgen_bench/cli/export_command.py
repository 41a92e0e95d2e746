"""`ltgen-bench export`: write the network of a run for other programs."""

import shlex
from pathlib import Path

import click

from ltgen_bench.cli.common import terminal_context
from ltgen_bench.cli.options import FILE, FOLDER, runs_option


@click.command()
@click.argument("run")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--at", type=click.IntRange(min=1), metavar="IMAGES",
              help="Weights after so many training images, of a run with --evaluate-every.  [default: the last]")
@click.option("--method-file", type=FILE, metavar="FILE", help="Python file with a method of your own.")
@click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Folder of the data sets.")
@runs_option
def export(run: str, folder: Path, at: int | None, method_file: Path | None, data_root: Path, runs: Path) -> None:
    """Write the trained network of RUN as a diffusers folder.

    DIR can be loaded by `UNet2DModel.from_pretrained` and has the label embedding, the scheduler, the recipe, and a model
    card (README.md) with examples in Python and citations. RUN is a run folder, its name or the beginning of its name (ltgen-
    bench runs list).

    \b
    ltgen-bench export cbdm-1a2b cbdm-digits
    ltgen-bench export cbdm-1a2b half-way --at 10400
    ltgen-bench sample cbdm-digits --omega 2 --out samples.npz
    """
    from ltgen_bench.methods import add_method_file

    if method_file is not None:
        add_method_file(method_file)
    from ltgen_bench.export.run_export import CARD, find_trained
    from ltgen_bench.export.run_export import export as write

    exported = write(find_trained(runs, run, at), folder, terminal_context("cpu"), data_root)
    sampling = shlex.join(["ltgen-bench", "sample", str(folder), "--out", "samples.npz"])
    if not exported.alone:
        click.echo(f"note: {exported.facts.name} draws its images by more than this network; what is exported is the unguided "
                   "network (its README.md says so)", err=True)
    click.echo(f" network   {folder}\n how to    {folder / CARD}\n next      {sampling}")
