"""Choice of the recipe: a file, or the shipped one of method and data set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ltgen_bench.config.recipe_files import read_toml, recipe_path
from ltgen_bench.config.schema import EvaluateConfig, RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.files import read_plain, shipped_folder
from ltgen_bench.core.progress import SILENT
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.data.catalog import DATASETS, find_source
from ltgen_bench.data.class_files import first_image
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.folder_source import inner_folders
from ltgen_bench.data.hub import list_hub
from ltgen_bench.data.image_files import BadImageError, decode
from ltgen_bench.data.npz import longer_side
from ltgen_bench.data.parts import NONE, TRAIN_NAMES, find_part
from ltgen_bench.diffusion import DEFAULT_PROCESS, PROCESSES
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.preset import PRESET_FIELDS
from ltgen_bench.evaluation.presets import resolved
from ltgen_bench.methods import METHODS, runs_under, variant_values
from ltgen_bench.sampling.samplers import SAMPLERS, check_sampler, fast_sampling, samplers_of
from ltgen_bench.training.augmentation import AUGMENTATIONS

DEFAULT_METHOD, DEFAULT_DATASET = "cbdm", "digits-lt"
SUITES = "suites"  # folder of baselines/ that holds no recipes
DIGITS_LIKE = 16  # pixels; up to here the recipes of the digits fit


def shipped_recipes() -> list[Path]:
    """Return all recipes of `baselines/`, by data set and method."""
    return sorted(path for path in shipped_folder("baselines").glob("*/*.toml") if path.parent.name != SUITES)


def resolve_recipe(*, recipe: Path | None, method: str | None, dataset: str | None,
                   overrides: Mapping[str, Any]) -> RunConfig:
    """The configuration of `recipe`, or of the shipped recipe that fits method and data set, with `overrides` laid over.

    With an augmentation or a process asked for, a recipe of method and that together (`cbdm-ada`, `cbdm-flow`) goes before that
    of the method. Where a recipe's sampler is of another process, the process's usual sampler and number of steps stand instead.
    A method without a recipe of its own takes that of `stand_in` for the same data, with its own default settings. Images of
    the user's own take the digits' recipes up to 16 pixels and CIFAR-10's above. A number of images takes the place of a
    budget in FLOPs or seconds that the recipe has. `recipe` is a file, or a shipped recipe by its name (`digits-lt/cbdm`).
    """
    if recipe is not None:
        path = named_recipe(recipe)
        values, where = read_toml(path), str(recipe)
    else:
        name = method or DEFAULT_METHOD
        family = recipe_family(dataset or DEFAULT_DATASET, overrides.get("data.image_size"), overrides.get("data.columns"))
        own = [recipe_path(family, stem) for stem in (f"{name}-{overrides.get('train.augment')}",
                                                  f"{name}-{overrides.get('process.name')}", name)]
        path = next((path for path in own if path.is_file()), None) or recipe_path(family, stand_in(name))
        values, where = read_toml(path), f"{family}/{path.name}"
    if path in shipped_recipes():
        values = _of_cpu_network(values, overrides)
    told = where
    if method is not None and _name_in(values, "method") != method:
        told += f" with the method {method} at its default settings"
        values = {**values, "method": {"name": method}, "reported": [], "source": told}
    if dataset is not None and _name_in(values, "data") != dataset:
        values = {**values, "data": {"name": dataset}, "reported": [], "source": f"{told} on {dataset}"}
    values = _of_process(values, overrides, told)
    if "method.variant" in overrides:  # a word for several settings, which wins over those of the recipe
        named = overrides.get("method.name") or _name_in(values, "method") or DEFAULT_METHOD
        of_variant = {f"method.{key}": value for key, value in variant_values(named, overrides["method.variant"]).items()}
        overrides = {**of_variant, **{key: value for key, value in overrides.items() if key != "method.variant"}}
    return RunConfig.from_values(values, overrides=_one_budget(overrides), where=where)


def without_recipe_settings(preset: str | None) -> dict[str, None]:
    """Return overrides that take away what a recipe says where a preset that the user asks for decides."""
    return {} if preset is None else {f"evaluate.{name}": None for name in (*PRESET_FIELDS, "reference_per_class")}


def stand_in(method: str) -> str:
    """Return the method whose recipe is taken for one without: `cfg` where guidance is possible, else `ddpm`."""
    return "cfg" if method in METHODS and METHODS[method].guidable() else "ddpm"


def named_recipe(recipe: Path) -> Path:
    """The file that `recipe` is, or the shipped recipe that has this name in `list recipes`; of neither a `UserError`."""
    names = {f"{path.parent.name}/{path.stem}": path for path in shipped_recipes()}
    name = recipe.as_posix().removesuffix(".toml")
    if recipe.is_file() or name not in names:
        if not recipe.exists():
            raise UserError(f"there is no recipe {recipe}.{did_you_mean(name, names)}   (ltgen-bench list recipes)")
        return recipe
    return names[name]


def _of_cpu_network(values: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A shipped recipe of the large network, sampled as the small one is worth where the user asks for that one.

    Training is short there, and 1000 steps for each of 50,000 images would take a thousand times as long.
    """
    if overrides.get("network.preset") != "cpu" or values.get("network", {}).get("preset") != "ddpm":
        return values
    sample = dict(values.get("sample", {}))
    if "sample.sampler" not in overrides:
        sample["sampler"], sample["steps"] = fast_sampling(DEFAULT_PROCESS)
    if "sample.images_per_class" not in overrides:
        sample["share"] = 1.0
    return {**values, "sample": sample}


def _of_process(values: dict[str, Any], overrides: Mapping[str, Any], told: str) -> dict[str, Any]:
    """A recipe under the process that is asked for, with a sampler of that process where its own is of another."""
    own = _name_in(values, "process") or DEFAULT_PROCESS
    process = overrides.get("process.name", own)
    if process != own:
        values = {**values, "process": {"name": process}, "reported": [], "source": f"{told} under process {process}"}
    sample = values.get("sample", {})
    stated = str(sample.get("sampler", SampleConfig().sampler)) if isinstance(sample, Mapping) else ""
    if process not in PROCESSES or stated not in SAMPLERS or SAMPLERS[stated].process == process:
        return values
    usual = samplers_of(process)[0]
    chosen = overrides.get("sample.sampler", usual)
    steps = SAMPLERS[chosen if chosen in SAMPLERS else usual].usual_steps
    return {**values, "sample": {**sample, "sampler": usual, "steps": steps}}


def _one_budget(overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """`overrides` in which a number of images, where it is given, takes the place of the recipe's budget in other units."""
    if "train.budget_images" not in overrides:
        return overrides
    given = [key for key in ("budget.flops", "budget.seconds") if overrides.get(key) is not None]
    if given:
        raise UserError(f"train.budget_images and {given[0]}: each says how long to train; give one of them.")
    return {**overrides, "budget": None}


def _name_in(values: Mapping[str, Any], table: str) -> Any:
    """`name` of a table of the recipe; None where it is not there, or the table is no table."""
    part = values.get(table)
    return part.get("name") if isinstance(part, Mapping) else None


def check_names(config: RunConfig) -> None:
    """Refuse unknown names before torch is imported or any data are read."""
    if config.sample.as_preset and config.evaluate.preset is None:
        raise UserError("--preset-sampling: images are drawn as a preset expects; name one with --preset.")
    METHODS.check(config.method.name)
    AUGMENTATIONS.check(config.train.augment)
    process = PROCESSES.check(config.process.name)
    if not runs_under(config.method.name, process):
        needed = METHODS[config.method.name].needs_process or ("", "")
        raise UserError(f"{config.method.name} needs process {needed[0]}: {needed[1]}; the process is {process}.")
    check_sampler(config.sample.sampler, process)
    for extractor in config.evaluate.extractors:
        EXTRACTORS.check(extractor)
    for metric in config.evaluate.metrics or ():
        METRICS.check(metric)


def resolved_runs(config: RunConfig, sample_seeds: Sequence[int] = ()) -> list[RunConfig]:
    """`config` once for each of `sample_seeds` and of the evaluation settings of its preset; `config` itself without either.

    Raises `UserError` for unknown names, before torch is imported or any data are read.
    """
    check_names(config)
    samples = [config.sample.model_copy(update={"seed": seed}) for seed in sample_seeds] or [config.sample]
    return [config.model_copy(update={"sample": sample, "evaluate": one})
            for sample in samples for one in resolved(config.evaluate)]


def resolved_run(config: RunConfig, why: str) -> RunConfig:
    """The only one of `resolved_runs(config)`. Raises `UserError` with `why` for a preset that has several settings."""
    found = resolved_runs(config)
    if len(found) > 1:
        raise UserError(f"evaluate.preset: {config.evaluate.preset} has {len(found)} lists of evaluation settings, and {why}")
    return found[0]


def recipe_family(dataset: str, resized: int | None = None, columns: Sequence[str] | None = None) -> str:
    """The folder of `baselines/` whose recipes fit a data set, at the image size that the user asks for.

    `columns` are those of `hub:NAME`, where its images cannot be found without.
    """
    source = find_source(dataset)
    if source.recipes is not None:
        return source.recipes
    known = max(source.image_shape[1:]) if source.image_shape is not None else 0
    return _family_of_size(resized or known or image_size(dataset, columns))


def _family_of_size(pixels: int) -> str:
    return "digits-lt" if pixels <= DIGITS_LIKE else "cifar10-lt"


def usual_measurement(dataset: LongTailDataset) -> EvaluateConfig:
    """Return the evaluation settings of the recipes for a data set."""
    family = DATASETS[dataset.name].recipes if dataset.name in DATASETS else None
    family = family or _family_of_size(max(dataset.image_shape[1:]))
    return RunConfig.from_recipe(recipe_path(family, DEFAULT_METHOD)).evaluate


def image_size(dataset: str, columns: Sequence[str] | None = None) -> int:
    """The longer side of the first image of `folder:PATH`, `npz:FILE` or `hub:NAME`, in pixels."""
    prefix, _, name = dataset.partition(":")
    path = Path(name) if prefix == "hub" else user_path(name, f"data set '{dataset}'")
    if prefix == "npz":
        return longer_side(path)
    try:
        if prefix == "hub":
            listing = list_hub(name, None if columns is None else (columns[0], columns[-1]), SILENT, NONE)
            data = listing.content(listing.train.files[0])
        else:
            data = read_plain(_first_image(path))
        pixels = decode(data).array
    except (OSError, BadImageError) as error:
        raise UserError(f"{dataset} has no readable training image ({error}). A folder is laid out as "
                        "PATH/train/CLASS/FILE.") from error
    return max(pixels.shape[1:])


def _first_image(folder: Path) -> Path:
    """The first image file below `folder`/train, or below `folder` itself where only an index list says what trains."""
    top = folder / find_part(inner_folders(folder), TRAIN_NAMES, str(folder))
    found = first_image(top)
    if found is None:
        raise FileNotFoundError(f"no image under {top}")
    return found
