"""A suite of tasks, as a TOML file says it: what is trained and measured, and how methods are compared over all tasks.

    version = 1
    title = "Digits at two factors"
    methods = ["ddpm", "cfg", "cbdm"]
    seeds = [0, 1, 2]
    metrics = ["fid", "recall"]             # the headline: what methods are compared by
    baseline = "cfg"                        # the method that the others are compared with

    [settings]                              # of every task, laid over the recipe of each method
    train.budget_images = 10_000

    [[tasks]]
    name = "factor-20"
    data.name = "digits-lt-20"
    sample = { sampler = "ddim", steps = 50 }

A task has the tables of a recipe without the method: data, network, process, train, budget, sample and evaluate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ltgen_bench.config.recipe_files import read_toml
from ltgen_bench.config.schema import (
    BudgetConfig,
    DataConfig,
    EvaluateConfig,
    NetworkConfig,
    Part,
    ProcessConfig,
    RunConfig,
    SampleConfig,
    TrainConfig,
    digest,
)
from ltgen_bench.core.errors import UserError, did_you_mean, unknown_name
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.core.registry import Registry, name_fault
from ltgen_bench.core.validation import dotted, problems_of
from ltgen_bench.core.words import some
from ltgen_bench.data.catalog import find_source
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.presets import PRESETS
from ltgen_bench.experiments.recipes import SUITES, check_names, resolve_recipe, without_recipe_settings
from ltgen_bench.methods import METHODS, runs_under
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.training.augmentation import AUGMENTATIONS


def _one_of(registry: Registry) -> AfterValidator:
    """Return a validator that refuses names that `registry` does not have."""
    def check(name: str) -> str:
        if name not in registry:
            raise ValueError(str(unknown_name(registry.kind, name, registry, registry.plural)))
        return name

    return AfterValidator(check)


def _a_data_set(name: str) -> str:
    try:
        find_source(name)
    except UserError as error:
        raise ValueError(str(error)) from error
    return name


def _a_label(name: str) -> str:
    fault = name_fault(name, folders=False)
    if fault:
        raise ValueError(f"{fault}; a name is of letters, digits, dots, dashes and the like")
    return name


Method = Annotated[str, _one_of(METHODS)]
Metric = Annotated[str, _one_of(METRICS)]


class _Data(DataConfig):
    name: Annotated[str, AfterValidator(_a_data_set)] = "digits-lt"


class _Process(ProcessConfig):
    name: Annotated[str, _one_of(PROCESSES)] = "ddpm"


class _Train(TrainConfig):
    augment: Annotated[str, _one_of(AUGMENTATIONS)] = "flip"


class _Sample(SampleConfig):
    sampler: Annotated[str, _one_of(SAMPLERS)] = "ddpm"


class _Evaluate(EvaluateConfig):
    extractors: tuple[Annotated[str, _one_of(EXTRACTORS)], ...] = Field(default=("classifier",), min_length=1)
    metrics: tuple[Metric, ...] | None = Field(default=None, min_length=1)
    preset: Annotated[str, _one_of(PRESETS)] | None = None


class Settings(Part):
    """The tables of a recipe that a suite may state."""

    data: _Data = _Data()
    network: NetworkConfig = NetworkConfig()
    process: _Process = _Process()
    train: _Train = _Train()
    budget: BudgetConfig | None = None
    sample: _Sample = _Sample()
    evaluate: _Evaluate = _Evaluate()


class Task(Settings):
    """One task: a name, and what of the recipes is set otherwise."""

    name: Annotated[str, AfterValidator(_a_label)]


class _File(Part):
    """The keys of a suite beside its tasks."""

    version: int = Field(ge=1, description="increased with every change that decides values")
    title: str = ""
    methods: tuple[Method, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=1)
    metrics: tuple[Metric, ...] = Field(min_length=1, description="the headline: what methods are compared by")
    baseline: Method = Field(description="the method that the others are compared with")


@dataclass(frozen=True)
class Suite:
    """A suite. `tasks` maps the name of a task to its settings, as dotted keys, with the settings of every task in them."""

    name: str
    path: Path
    version: int
    title: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    baseline: str
    tasks: Mapping[str, Mapping[str, Any]]

    def config(self, task: str, method: str) -> RunConfig:
        """Return the configuration of a method on a task: the method's recipe for these data with the task's settings over it.

        Where the task has a preset, what the recipe says of the evaluation does not count.
        """
        settings = self.tasks[task]
        own = {**without_recipe_settings(settings.get("evaluate.preset")), **settings}
        return resolve_recipe(recipe=None, method=method, dataset=settings["data.name"], overrides=own)

    def impossible(self, task: str, method: str) -> str:
        """Return why a method cannot run on a task; empty where it can."""
        process = self.tasks[task].get("process.name", ProcessConfig().name)
        if runs_under(method, process):
            return ""
        needed, why = METHODS[method].needs_process or ("", "")
        return f"{method} needs process {needed}: {why}; that of the task is {process}"

    @cached_property
    def stated(self) -> dict[str, Any]:
        """What decides the values of this suite, recipes included, as plain values; without titles and sources.

        `tasks` maps task -> method -> setting, as a dotted key -> value.
        """
        def settings(task: str, method: str) -> dict[str, Any]:
            config = self.config(task, method)
            return dotted(config.model_dump(mode="json", exclude_defaults=True, exclude={"source", "reported", "seed"}))

        tasks = {task: {method: settings(task, method) for method in self.methods} for task in self.tasks}
        return {"methods": list(self.methods), "seeds": list(self.seeds), "metrics": list(self.metrics),
                "baseline": self.baseline, "tasks": tasks}

    @property
    def words(self) -> str:
        """`suite digits, version 1, digest 1a2b3c4d`."""
        return f"suite {self.name}, version {self.version}, digest {self.digest}"

    @property
    def groups(self) -> dict[str, str]:
        """Task -> the first task that differs from it in the class order alone, perhaps itself: together they count as one."""
        def rest(task: str) -> dict[str, Any]:
            return {key: value for key, value in self.tasks[task].items() if key != "data.class_order"}

        return {task: next(other for other in self.tasks if rest(other) == rest(task)) for task in self.tasks}

    @property
    def digest(self) -> str:
        """8 hex digits over `stated`."""
        return digest(self.stated)


def shipped_suites() -> dict[str, Path]:
    """Return the name and file of each suite that ships with the package."""
    return {path.stem: path for path in sorted((shipped_folder("baselines") / SUITES).glob("*.toml"))}


def find_suite(name: str) -> Suite:
    """Return the shipped suite called `name`, or that of a file. Raises `UserError`, with all faults of a file at once."""
    shipped = shipped_suites()
    path = shipped.get(name, Path(name))
    if name not in shipped and not path.is_file():
        raise UserError(f"there is no suite '{name}'.{did_you_mean(name, shipped)} Known: {', '.join(shipped)}; or a TOML file "
                        "of your own.   (ltgen-bench suite list)")
    return read_suite(path)


def read_suite(path: Path) -> Suite:
    """Read a suite from its TOML file. Raises one `UserError` with all faults."""
    values = read_toml(path)
    settings, tasks = values.pop("settings", {}), values.pop("tasks", [])
    known = [*_File.model_fields, "settings", "tasks"]
    problems = [f"{key}: unknown setting.{did_you_mean(key, known)} Known: {', '.join(known)}."
                for key in values if key not in known]
    values = {key: value for key, value in values.items() if key in known}
    problems += [*problems_of(_File, values), *problems_of(Settings, settings, "settings.")]
    if not isinstance(tasks, list) or not tasks:
        problems.append("tasks: a suite has at least one task, as in [[tasks]] with name and data.name below.")
        tasks = []
    named: dict[str, dict[str, Any]] = {}
    for number, task in enumerate(tasks, 1):
        name = str(task.get("name", number)) if isinstance(task, Mapping) else str(number)
        found = problems_of(Task, task, f"task {name}: ")
        if not found and name in named:
            found = [f"task {name}: another task has this name."]
        if not found:
            named[name] = {**dotted(settings), **dotted({key: value for key, value in task.items() if key != "name"})}
        problems += found
    if not problems:
        problems = [f"task {name}: data.name: is needed and not given." for name, own in named.items() if "data.name" not in own]
    if not problems:
        suite = Suite(path.stem, path, tasks=named, **{"title": "", **_tuples(values)})
        problems = _contradictions(suite)
    if problems:
        raise UserError(f"{path} has {'1 problem' if len(problems) == 1 else f'{len(problems)} problems'}", problems)
    return suite


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _contradictions(suite: Suite) -> list[str]:
    """Return what does not go together in a suite whose values are all known."""
    lists = {"methods": suite.methods, "seeds": suite.seeds, "metrics": suite.metrics}
    found = [f"{key}: {value} is given twice." for key, values in lists.items() for value in dict.fromkeys(values)
             if values.count(value) > 1]
    if suite.baseline not in suite.methods:
        found.append(f"baseline: {suite.baseline} is not among the methods: {', '.join(suite.methods)}.")
    for task, settings in suite.tasks.items():
        measured = settings.get("evaluate.metrics")
        missing = [name for name in suite.metrics if measured is not None and name not in measured]
        if missing:
            found.append(f"task {task}: evaluate.metrics lacks {', '.join(missing)}, which methods are compared by.")
        try:
            check_names(suite.config(task, suite.baseline))
        except UserError as error:
            found += [f"task {task}: {problem}" for problem in error.problems or (str(error),)]
    return found


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return what differs between what two versions of a suite state (`Suite.stated`): `key: before there, now here`.

    A setting that changed alike in several tasks and methods is told once.
    """
    found = [f"{key}: {there[key]} there, {here[key]} here" for key in here if key != "tasks" and there[key] != here[key]]
    mine, theirs = ({(task, method): own for task, methods in one["tasks"].items() for method, own in methods.items()}
                    for one in (here, there))
    for word, one, other in (("there", here, there), ("here", there, here)):
        found += [f"task {task}: not {word}" for task in one["tasks"] if task not in other["tasks"]]
    common = [pair for pair in mine if pair in theirs]
    changed: dict[str, list[tuple[str, str]]] = {}
    for pair in common:
        for key in sorted(mine[pair].keys() | theirs[pair].keys()):
            values = [one[pair].get(key, "the default") for one in (theirs, mine)]
            if values[0] != values[1]:
                changed.setdefault(f"{key}: {values[0]} there, {values[1]} here", []).append(pair)
    return found + [words if pairs == common else f"{words} ({some([', '.join(pair) for pair in pairs], 2)})"
                    for words, pairs in changed.items()]
