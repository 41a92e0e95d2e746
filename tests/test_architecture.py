"""Who imports whom, nothing global and random, nothing printed, everything documented."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ltgen_bench

PACKAGE = Path(ltgen_bench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A package imports only itself and packages before it.
ORDER = ("core", "config", "runtime", "data", "diffusion", "sampling", "methods", "training", "evaluation", "records",
         "statistics", "report", "experiments", "export", "cli")
LEVEL = {package: level for level, package in enumerate(ORDER)}
AT_THE_TOP = {"__init__", "__main__", "api"}  # the only modules outside packages; they may import all
# the loop forks the generator around
SEEDING = {("diffusion/network.py", "build_network"), ("training/trainer.py", "_differentiated")}


def name_of(path):
    return str(path.relative_to(PACKAGE))


def package_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_packages(tree):
    """(package, line) of every import of this package, also of those inside functions."""
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; write the whole name"
            modules = [f"{node.module}.{alias.name}" if node.module == "ltgen_bench" else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "ltgen_bench" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1], node.lineno


def dotted(node):
    """`np.random.seed` of a name or attribute chain, else an empty string."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def calls(tree, function=None):
    """(dotted name, enclosing function, node) of every call."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef) else function
        if isinstance(node, ast.Call):
            yield dotted(node.func), inside, node
        yield from calls(node, inside)


@pytest.fixture(scope="module")
def trees():
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_only_packages_stand_beside_the_three_modules_at_the_top():
    assert {package_of(path) for path in FILES} == set(ORDER) | AT_THE_TOP


def test_a_package_imports_only_what_stands_before_it(trees):
    wrong = []
    for path, tree in trees.items():
        own = package_of(path)
        for package, line in imported_packages(tree):
            if own not in AT_THE_TOP and package != own and LEVEL.get(package, len(ORDER)) > LEVEL[own]:
                wrong.append(f"{name_of(path)}:{line} imports {package}")
    assert wrong == []


def test_no_two_modules_have_the_same_name():
    names = [path.stem for path in FILES if not path.stem.startswith("__")]
    assert [name for name in set(names) if names.count(name) > 1] == []


def test_methods_know_nothing_of_training_and_training_nothing_of_evaluation(trees):
    for path, tree in trees.items():
        packages = {package for package, _ in imported_packages(tree)}
        if package_of(path) == "methods":
            assert "training" not in packages
        if package_of(path) == "training":
            assert "evaluation" not in packages


def test_nothing_global_and_random_is_called(trees):
    local = {"Generator", "PCG64", "RandomState", "SeedSequence", "default_rng", "Random"}
    wrong = []
    for path, tree in trees.items():
        for name, function, node in calls(tree):
            parts = name.split(".")
            numpy_global = parts[:2] in (["np", "random"], ["numpy", "random"]) and parts[-1] not in local
            python_global = parts[0] == "random" and len(parts) == 2 and parts[-1] not in local
            torch_seed = name in ("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed_all",
                                  "torch.default_generator.manual_seed", "torch.random.manual_seed")
            if numpy_global or python_global or (torch_seed and not forked(path, tree, function)):
                wrong.append(f"{name_of(path)}:{node.lineno} {name}")
    assert wrong == []


def test_what_a_method_brings_to_the_device_of_its_batch_does_not_wait_for_the_device(trees):
    """A plain `.to(t.device)` of a tensor on the CPU would make the host wait for all that was started before."""
    wrong = []
    for path, tree in trees.items():
        if package_of(path) != "methods" and "augmentation" not in path.parts:
            continue
        for node in ast.walk(tree):
            moving = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("to", "cuda")
            if moving and not any(keyword.arg in ("non_blocking", "dtype", "memory_format") for keyword in node.keywords):
                wrong.append(f"{name_of(path)}:{node.lineno}")
    assert wrong == []


def forked(path, tree, function):
    """Whether the function seeds torch inside `fork_rng`, or is the training step, which the loop forks around."""
    if (name_of(path), function) in SEEDING:
        return True
    return any(name == "torch.random.fork_rng" and inside == function for name, inside, _ in calls(tree))


def test_random_numbers_of_torch_come_from_a_generator(trees):
    """`torch.randn(...)` without `generator=` would draw from the global one."""
    drawing = {"randn", "rand", "randint", "randperm", "multinomial", "bernoulli", "normal"}
    wrong = []
    for path, tree in trees.items():
        for name, function, node in calls(tree):
            given = {keyword.arg for keyword in node.keywords}
            if name.startswith("torch.") and name.split(".")[-1] in drawing and "generator" not in given \
                    and not forked(path, tree, function):
                wrong.append(f"{name_of(path)}:{node.lineno} {name}")
    assert wrong == []


def test_generators_of_numpy_are_made_with_a_seed(trees):
    made = {"np.random.default_rng", "np.random.RandomState", "np.random.PCG64", "random.Random"}
    wrong = [f"{name_of(path)}:{node.lineno}" for path, tree in trees.items() for name, _, node in calls(tree)
             if name in made and not node.args and not node.keywords]
    assert wrong == []


def test_the_library_never_prints(trees):
    wrong = [f"{name_of(path)}:{node.lineno}" for path, tree in trees.items() for name, _, node in calls(tree)
             if name in ("print", "sys.stdout.write", "sys.stderr.write") and package_of(path) != "cli"]
    assert wrong == []


def public(tree):
    """Public functions, classes and methods; left out: one-line properties, a module's `forward`, what is inside functions."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (inner for inner in node.body if isinstance(inner, ast.FunctionDef)
                            and not inner.name.startswith("_") and not plain(inner))


def plain(method):
    """A property of one line, whose name says it all, or torch's own `forward`."""
    properties = ("property", "cached_property")
    short = len(method.body) == 1 and any(dotted(decorator) in properties for decorator in method.decorator_list)
    return short or method.name == "forward"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_everything_public_is_documented(path, trees):
    tree = trees[path]
    assert ast.get_docstring(tree) or not tree.body, f"{name_of(path)} has no docstring"
    missing = [f"{name_of(path)}:{node.lineno} {node.name}" for node in public(tree) if not ast.get_docstring(node)]
    assert missing == []


def test_no_file_grows_far_over_three_hundred_lines():
    lines = {name_of(path): len(path.read_text().splitlines()) for path in FILES if package_of(path) != "cli"}
    assert {name: count for name, count in lines.items() if count > 320} == {}


@pytest.mark.parametrize(("statement", "unwanted"), [
    ("import ltgen_bench", ("torch", "diffusers", "pandas", "sklearn")),
    ("import ltgen_bench.config.schema", ("torch", "diffusers", "pandas", "sklearn")),
    ("from ltgen_bench.data import DATASETS, load_dataset; list(DATASETS)", ("torch", "torchvision", "diffusers", "sklearn")),
    ("from ltgen_bench.methods import METHODS; list(METHODS); METHODS.check('cbdm')", ("torch", "diffusers")),
    ("from ltgen_bench.sampling.samplers import SAMPLERS; SAMPLERS['ddim'].summary", ("diffusers",)),
    ("from ltgen_bench.data import DATASETS\ntry: DATASETS['x']\nexcept Exception: pass", ("torch",)),
])
def test_names_are_known_without_the_heavy_libraries(statement, unwanted):
    program = f"import sys\n{statement}\nprint([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_core_records_and_report_start_without_torch():
    modules = [".".join(("ltgen_bench", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in FILES
               if package_of(path) in ("core", "config", "records", "statistics", "report") and path.stem != "__init__"]
    program = f"import sys, importlib\n[importlib.import_module(m) for m in {modules!r}]\n" \
              "print([name for name in ('torch', 'diffusers', 'torch_fidelity') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# what a RunContext holds: a function that takes two of these takes the context instead
CONTEXT = {"progress", "ranks", "interruption", "extractor_weights", "cache", "command"}
STAGES = {"train", "sample", "evaluate", "carry_out", "carry_out_curve", "carry_out_grid", "carry_out_search", "rescore",
          "share_features", "check_extractors", "make_plan", "make_grid"}
MANY = {"data/catalog.py _from_torchvision", "report/write_report.py report"}  # tables of facts, and the options of a command


def parameters(tree):
    """(function, names of its parameters) of every function but commands, whose parameters are options."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not any("click" in ast.unparse(one) for one in node.decorator_list):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            yield node, [one.arg for one in given if one.arg not in ("self", "cls")]


def test_stages_have_at_most_five_parameters_and_other_functions_seven(trees):
    wrong = []
    for path, tree in trees.items():
        for node, names in parameters(tree):
            limit = 5 if node.name in STAGES and package_of(path) != "cli" else 7
            if package_of(path) != "api" and len(names) > limit and f"{name_of(path)} {node.name}" not in MANY:
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name} has {len(names)}")
    assert wrong == []


def test_what_a_context_holds_is_handed_on_as_a_context(trees):
    wrong = []
    for path, tree in trees.items():
        for node, names in parameters(tree):
            held = CONTEXT & set(names)
            if len(held) > 1 and package_of(path) not in ("api", "data"):
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name} takes {', '.join(sorted(held))}")
    assert wrong == []
