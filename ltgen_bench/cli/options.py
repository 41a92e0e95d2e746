"""Options that several commands have, and the values that they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.user_paths import check_path

if TYPE_CHECKING:
    from ltgen_bench.config.schema import DataConfig


class SafePath(click.Path):
    """Parameter type of paths. Texts that cannot be a path raise `UserError`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path after checking the text."""
        check_path(str(value), param.opts[0] if param is not None else "the command")
        return super().convert(value, param, ctx)


FOLDER = SafePath(path_type=Path, file_okay=False)
FILE = SafePath(path_type=Path, dir_okay=False)


runs_option = click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of the runs.")
device_option = click.option("--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: cuda if available]")
threads_option = click.option("--threads", type=click.IntRange(min=1), metavar="N",
                              help="CPU threads; the last bits of results depend on it.")
weights_option = click.option("--extractor-weights", multiple=True, metavar="NAME=FILE",
                              help="Weights from a file, e.g. inception=FILE.")


def preset_option(command: Callable) -> Callable:
    """Return `--preset NAME`, and `--protocol` as a `UserError` that names it."""
    def refuse(context: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UserError(f"--protocol is called --preset: write --preset {value}.")

    command = click.option("--protocol", hidden=True, expose_value=False, callback=refuse)(command)
    words = "Measure with the settings of standard, cbdm-paper, oc-paper, ..."
    return click.option("--preset", metavar="NAME", help=words)(command)


class Batch(click.ParamType):
    """Parameter type of batch sizes: an integer above 0, or auto."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the integer, or "auto". Raises `UserError` for anything else."""
        if value == "auto" or isinstance(value, int):
            return value
        number = whole_number(value)
        if number < 1:
            raise UserError(f"--batch {value:.40}: it is a whole number above 0, or auto for as many as are fastest on this "
                            "machine.")
        return number


def whole_number(text: str) -> int:
    """Return a non-negative integer of at most 18 digits; -1 for anything else."""
    return int(text) if text.isdecimal() and len(text) <= 18 else -1


def batch_option(words: str) -> Callable:
    """Return a decorator that adds `--batch N|auto`; `words` begin its help text."""
    return click.option("--batch", type=Batch(), metavar="N|auto", help=words)


_DATA_OPTIONS = (
    click.option("--imbalance-factor", metavar="NUMBER|natural", help="Largest / smallest class count."),
    click.option("--profile", metavar="NAME", help="How the class counts fall: exp, step or pareto:ALPHA."),
    click.option("--split-seed", type=int, metavar="N", help="Seed of the draw of training images in each class.  [default: 0]"),
    click.option("--class-order", type=int, metavar="SEED", help="Seed of the order of the classes.  [default: by label]"),
    click.option("--split", metavar="FILE", help="Manifest of the training images (split.json of data export)."),
    click.option("--index-list", metavar="FILE", help="Published list of training images, lines of PATH LABEL."),
    click.option("--test-list", metavar="FILE", help="Published list of test images."),
    click.option("--test-part", metavar="NAME", help="Part of your own data used as test set; train: hold out a quarter of "
                 "each class; none: no test set.  [default: test, else val]"),
    click.option("--image-size", type=int, metavar="16|32|64|128", help="Resize image files to this width and height."),
    click.option("--columns", metavar="IMAGE,LABEL", help="Columns of hub:NAME.  [default: detected]"),
    click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Folder of the data sets."),
)


def data_options(command: Callable) -> Callable:
    """Add the options that select images, for commands that read a data set."""
    for option in reversed(_DATA_OPTIONS):
        command = option(command)
    return command


def data_values(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the data options from `options`, and return those that were given as keys of `[data]`."""
    factor, columns = options.pop("imbalance_factor"), options.pop("columns")
    if factor is not None and factor != "natural":
        try:
            factor = float(factor)
        except ValueError:
            raise UserError(f"--imbalance-factor {factor}: it is a number of at least 1, or natural.") from None
    names = ("profile", "split_seed", "class_order", "split", "index_list", "test_list", "test_part", "image_size")
    given = {"imbalance_factor": factor, **{name: options.pop(name) for name in names},
             "columns": None if columns is None else [name.strip() for name in columns.split(",")]}
    return {key: value for key, value in given.items() if value is not None}


def data_config(dataset: str, values: dict[str, Any]) -> "DataConfig":
    """Return the configuration of a data set by its name and the values of its options."""
    from ltgen_bench.config.schema import DataConfig
    from ltgen_bench.core.validation import validate

    return validate(DataConfig, {"name": dataset, **values}, where="the command", prefix="data.")


def table_values(table: str, stated: dict[str, Any], settings: tuple[str, ...], why: str) -> dict[str, Any]:
    """Return the values of one table of the recipe: of the options that were given, and of --set, which takes precedence.

    Raises `UserError`, with the reason `why`, where --set names another table.
    """
    from ltgen_bench.config.recipe_files import parse_setting, set_dotted

    values = {key: value for key, value in stated.items() if value is not None}
    for key, value in map(parse_setting, settings):
        if not key.startswith(f"{table}."):
            raise UserError(f"--set {key}: only {table}.* can be set here, since {why}.")
        set_dotted(values, key.removeprefix(f"{table}."), value)
    return values


def names_of(text: str | None) -> list[str] | None:
    """Return `fid, kid` as a list."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def seeds_of(text: str, option: str = "--seeds") -> list[int]:
    """Return the seeds of `0,1,2`, each once. Raises `UserError` for anything else."""
    parts = names_of(text) or []
    if not parts or not all(0 <= whole_number(part) < 2**31 for part in parts):
        raise UserError(f"{option} {text:.40}: whole numbers from 0, with commas, as in {option} 0,1,2")
    return list(dict.fromkeys(map(int, parts)))


def weights_files(pairs: tuple[str, ...]) -> dict[str, Path]:
    """Return --extractor-weights as extractor -> file. Raises `UserError` for a missing file."""
    weights = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UserError(f"--extractor-weights {pair}: write it as NAME=FILE, for example inception=weights.pth")
        if not Path(file).is_file():
            raise UserError(f"--extractor-weights {name}: there is no file {file}.")
        weights[name] = Path(file)
    return weights


def check_preset(name: str | None) -> str | None:
    """Return `name` itself; an unknown one is a `UserError` with the near match."""
    from ltgen_bench.evaluation.presets import PRESETS

    return None if name is None else PRESETS.check(name)
