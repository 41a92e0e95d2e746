"""The methods. A new one is one file and one line here, or an entry point of the group `ltgen_bench.methods`."""

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltgen_bench.config.schema import MethodConfig
from ltgen_bench.core.errors import UserError, unknown_name
from ltgen_bench.core.registry import Registry, check_name
from ltgen_bench.core.validation import validate

if TYPE_CHECKING:  # torch takes seconds to import, and a bad name is refused before
    from ltgen_bench.methods.base import Method

USER_MODULE = "ltgen_bench_user_"  # how the names of modules begin that come from --method-file


def _checked(kind: Any, name: str, where: str) -> "type[Method]":
    """The method of an installed package. As with a user's file, the content of its module is part of what was trained."""
    _check_whole(kind, where)
    if not kind.__module__.startswith("ltgen_bench."):  # which would be another training of one of ours
        kind.code_digest = content_digest(Path(inspect.getfile(kind)))
    return kind


METHODS: "Registry[type[Method]]" = Registry("method", "methods", "ltgen_bench.methods", _checked)
METHODS.add("ddpm", "ltgen_bench.methods.ddpm:DDPM")
METHODS.add("cfg", "ltgen_bench.methods.cfg:CFG")
METHODS.add("cbdm", "ltgen_bench.methods.cbdm:CBDM")
METHODS.add("cbdm-finetune", "ltgen_bench.methods.cbdm_finetune:CBDMFinetune")
METHODS.add("classifier-guidance", "ltgen_bench.methods.classifier_guidance:ClassifierGuidance")
METHODS.add("coral", "ltgen_bench.methods.coral:CORAL")
METHODS.add("ccua", "ltgen_bench.methods.ccua:CCUA")
METHODS.add("oc", "ltgen_bench.methods.oc:OC")
METHODS.add("cm", "ltgen_bench.methods.cm:CM")
METHODS.add("resample", "ltgen_bench.methods.resample:Resample")
METHODS.add("reweight", "ltgen_bench.methods.reweight:Reweight")
METHODS.add("diffrop-style", "ltgen_bench.methods.diffrop_style:DiffROPStyle")
METHODS.add("igd-ml-style", "ltgen_bench.methods.igd_ml_style:IGDMLStyle")


def runs_under(method: str, process: str) -> bool:
    """Return whether the definition of a method holds under a noise process."""
    (needed,) = METHODS.facts(method, "needs_process")
    return needed is None or needed[0] == process


def method_settings(config: MethodConfig, *, where: str = "the configuration") -> Any:
    """The validated `Settings` of the named method; an unknown key or a value out of range is a `UserError`.

    `variant` is a word for several settings, and is gone afterwards: what else `config` says wins over them.
    """
    values = config.settings
    if "variant" in values:
        values = {**variant_values(config.name, values.pop("variant")), **values}
    return validate(METHODS[config.name].Settings, values, where=where, prefix="method.")


def variant_values(method: str, variant: Any) -> dict[str, Any]:
    """The settings that `method.variant = VARIANT` stands for; an unknown one is a `UserError` with the list."""
    known = METHODS[method].variants
    if not known:
        raise UserError(f"method.variant: {method} has no variants; leave it out.")
    if variant not in known:
        raise unknown_name(f"variant of {method}", str(variant), known)
    return dict(known[variant])


def normalised(config: MethodConfig) -> MethodConfig:
    """`config` with only the settings that differ from the method's defaults: equal methods have equal digests."""
    settings = method_settings(config).model_dump(mode="json", exclude_defaults=True)
    return MethodConfig(name=config.name, **settings)


def spelled_out(config: MethodConfig) -> MethodConfig:
    """`config` with every setting of the method, also those at their defaults."""
    return MethodConfig(name=config.name, **method_settings(config).model_dump(mode="json"))


def add_method_file(path: Path) -> str:
    """Register the one `Method` class that a user's file defines, and give its name.

    The content of the file is part of what was trained: an edited method does not continue the runs of the earlier one.
    """
    from ltgen_bench.methods.base import Method

    if not path.is_file():
        raise UserError(f"--method-file: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(f"{USER_MODULE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--method-file: {path} is not a Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        from ltgen_bench.methods.blame import failure, place_in

        where = place_in(error, Path(spec.origin or path))
        told = f"{failure(error)} ({where})" if where else failure(error)
        raise UserError(f"--method-file: {path} fails when it is read: {told}.") from error
    found = [value for value in vars(module).values()
             if isinstance(value, type) and issubclass(value, Method) and value.__module__ == spec.name]
    if len(found) != 1:
        raise UserError(f"--method-file: {path} defines {len(found)} classes derived from Method; it must define one.")
    _check_whole(found[0], f"--method-file: {path}")
    if found[0].name in METHODS:
        raise UserError(f"--method-file: {path}: the name '{found[0].name}' is taken; known: {', '.join(METHODS)}.")
    found[0].code_digest = content_digest(path)
    METHODS.add(found[0].name, found[0])
    return found[0].name


def content_digest(path: Path) -> str:
    """8 hex digits of SHA-256 over the file of a method that does not come with this package."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def _check_whole(kind: Any, where: str) -> None:
    """A `UserError` for what is no `Method` class, or lacks what everyone asks of one."""
    from ltgen_bench.methods.base import Method, Settings

    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise UserError(f"{where} is not a class derived from ltgen_bench.methods.base.Method.")
    missing = [name for name in ("name", "summary", "source", "Settings") if not hasattr(kind, name)]
    missing += sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise UserError(f"{where}: class {kind.__name__} lacks {', '.join(missing)}.")
    check_name(f"{where}: the method", kind.name)
    if not (isinstance(kind.Settings, type) and issubclass(kind.Settings, Settings)):
        raise UserError(f"{where}: {kind.__name__}.Settings must be a class derived from "
                        "ltgen_bench.methods.base.Settings.")
