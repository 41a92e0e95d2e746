"""What a method says of itself, as plain values for lists and pages."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.methods import METHODS, variant_values
from ltgen_bench.methods.base import EVIDENCE

BOUNDS = {"minimum": ">= {}", "exclusiveMinimum": "> {}", "maximum": "<= {}", "exclusiveMaximum": "< {}"}
KINDS = {"number": "a number", "integer": "a whole number", "string": "a text", "boolean": "true or false", "array": "a list",
         "null": "absent", "object": "a table"}


@dataclass(frozen=True)
class SettingDescription:
    """One setting: `default` as TOML writes it ("absent" for none), `allowed` and `description` in words."""

    name: str
    default: str
    allowed: str
    description: str


@dataclass(frozen=True)
class MethodDescription:
    """All that a method states; `objective` is its docstring."""

    name: str
    summary: str
    objective: str
    source: str
    evidence: str
    evidence_words: str
    cites: tuple[str, ...]
    extra_forwards: str
    guidable: bool
    processes: dict[str, str]  # noise process -> what the network predicts, or why the method does not run under it
    settings: tuple[SettingDescription, ...]
    variants: dict[str, dict[str, str]]


def describe_method(name: str) -> MethodDescription:
    """The description of a registered method; an unknown name is a `UserError`."""
    kind = METHODS[name]
    schema = kind.Settings.model_json_schema()
    settings = tuple(
        SettingDescription(key, in_toml(field.default), _allowed(schema["properties"][key]), field.description or "")
        for key, field in kind.Settings.model_fields.items())
    variants = {variant: {key: in_toml(value) for key, value in variant_values(name, variant).items()}
                for variant in kind.variants}
    needed = kind.needs_process
    processes = {process: f"predicts the {PROCESSES[process].predicts}" if needed is None or process == needed[0] else
                 f"no, {name} needs process {needed[0]}: {needed[1]}" for process in PROCESSES}
    return MethodDescription(
        name=name, summary=kind.summary, objective=inspect.cleandoc(kind.__doc__ or ""), source=kind.source,
        evidence=kind.evidence, evidence_words=EVIDENCE.get(kind.evidence, "unknown"), cites=kind.cites,
        extra_forwards=kind.extra_forwards, guidable=kind.guidable(), processes=processes, settings=settings, variants=variants)


def in_toml(value: Any) -> str:
    """`value` as a recipe states it: texts in quotes, true and false in small letters; "absent" for None."""
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(in_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(schema: Mapping[str, Any]) -> str:
    """What a JSON schema of one value lets through, in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(alternative) for alternative in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(in_toml(value) for value in schema.get("enum", [schema.get("const")]))
    bounds = [words.format(f"{schema[key]:g}") for key, words in BOUNDS.items() if key in schema]
    return " ".join([KINDS.get(schema.get("type", ""), "a value"), *([" and ".join(bounds)] if bounds else [])])
