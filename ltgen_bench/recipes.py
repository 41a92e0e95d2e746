"""Which recipe a command means: a file, or the shipped one of the method for data like these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ltgen_bench.config import RunConfig, read_toml, recipe_path
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.sources import BROKEN_IMAGE, image_files, load_npz
from ltgen_bench.diffusion.samplers import SAMPLERS
from ltgen_bench.errors import UserError
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.files import shipped_folder
from ltgen_bench.methods import METHODS

DEFAULT_METHOD, DEFAULT_DATASET = "cbdm", "digits-lt"
SMALL_IMAGE = 16  # pixels; up to here the recipes of the digits fit


def shipped_recipes() -> list[Path]:
    """All recipes of `baselines/`, by data set and method."""
    return sorted(shipped_folder("baselines").glob("*/*.toml"))


def resolve_recipe(*, recipe: Path | None, method: str | None, dataset: str | None,
                   overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration of `recipe`, or of the shipped recipe that fits method and data set, with `overrides` laid over.

    A method without a recipe of its own takes that of `ddpm` for the same data, with its own default settings. Images of
    the user's own take the digits' recipes up to 16 pixels and CIFAR-10's above.
    """
    if recipe is not None:
        values, where = read_toml(recipe), str(recipe)
    else:
        name = method or DEFAULT_METHOD
        family = recipe_family(dataset or DEFAULT_DATASET)
        path = recipe_path(family, name)
        if not path.is_file():
            path = recipe_path(family, "ddpm")
        values, where = read_toml(path), f"{family}/{path.name}"
    if method is not None and _name_in(values, "method") != method:
        values = {**values, "method": {"name": method}, "reported": [],
                  "source": f"{where} with the method {method} at its default settings"}
    if dataset is not None and _name_in(values, "data") != dataset:
        values = {**values, "data": {"name": dataset}, "reported": [], "source": f"{where} on {dataset}"}
    return RunConfig.from_values(values, overrides=overrides, where=where)


def _name_in(values: Mapping[str, Any], table: str) -> Any:
    """`name` of a table of the recipe; None where it is not there, or the table is no table."""
    part = values.get(table)
    return part.get("name") if isinstance(part, Mapping) else None


def check_names(config: RunConfig) -> None:
    """Refuse unknown names before torch is imported or any data are read."""
    METHODS.check(config.method.name)
    SAMPLERS.check(config.sample.sampler)
    for extractor in config.evaluate.extractors:
        EXTRACTORS.check(extractor)
    for metric in config.evaluate.metrics or ():
        METRICS.check(metric)


def recipe_family(dataset: str) -> str:
    """The folder of `baselines/` whose recipes fit a data set."""
    family = find_source(dataset).recipes
    return family or ("digits-lt" if image_size(dataset) <= SMALL_IMAGE else "cifar10-lt")


def image_size(dataset: str) -> int:
    """The longer side of the first image of `folder:PATH` or `npz:FILE`, in pixels."""
    from PIL import Image

    prefix, _, name = dataset.partition(":")
    path = Path(name).expanduser()
    if prefix == "npz":
        return max(load_npz(path).train.images.shape[2:])
    try:
        first = next(file for folder in sorted((path / "train").iterdir()) if folder.is_dir() for file in image_files(folder))
        with Image.open(first) as image:
            return max(image.size)
    except (*BROKEN_IMAGE, StopIteration, Image.DecompressionBombError) as error:
        raise UserError(f"{dataset} has no readable training image ({type(error).__name__}: {error}). A folder is laid out as "
                        "PATH/train/CLASS/FILE.") from error
