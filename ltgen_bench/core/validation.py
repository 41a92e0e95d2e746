"""Validation of settings by pydantic models, with one sentence per fault: key, given value, allowed values."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from ltgen_bench.core.errors import UserError, did_you_mean, inverse_hint
from ltgen_bench.core.words import counted

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], values: Mapping[str, Any], *, where: str, prefix: str = "") -> M:
    """Return `values` as an instance of `model`. Raises one `UserError` that lists all faults; `where` names their source."""
    try:
        return _validated(model, values)
    except ValidationError:
        problems = problems_of(model, values, prefix)
        raise UserError(f"{where} has {counted(len(problems), 'problem')}", problems) from None


def problems_of(model: type[BaseModel], values: Any, prefix: str = "") -> list[str]:
    """Return one sentence, after `prefix`, for each fault of `values` as an instance of `model`."""
    try:
        _validated(model, values)
    except ValidationError as error:
        return [prefix + problem for problem in _explain_all(model, [dict(fault) for fault in error.errors()])]
    return []


def _validated(model: type[M], values: Any) -> M:
    # through JSON, whose strict mode reads a list where a tuple is meant
    return model.model_validate_json(json.dumps(values, default=str))


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one mapping: dotted key path (`train.batch_size`) -> value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


INVERSE = "inverse"  # marks a field (in `json_schema_extra`) whose inverse is in use too, as the imbalance factor's
LONGEST_QUOTE = 100  # characters


def short(text: str) -> str:
    """Return `text`, cut to `LONGEST_QUOTE` characters, for use in a message."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


ALLOWED = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "string_type": "a text",
    "bool_type": "true or false", "tuple_type": "a list", "finite_number": "a finite number",
    "model_type": "a table of settings", "model_attributes_type": "a table of settings",
}
BOUNDS = {"gt": "above {}", "ge": "of at least {}", "lt": "below {}", "le": "of at most {}"}


def _explain_all(model: type[BaseModel], faults: list[dict[str, Any]]) -> list[str]:
    """Return one sentence for each wrong value; the faults of a union's alternatives are joined."""
    by_value: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for fault in faults:
        by_value.setdefault(_value_path(model, fault), []).append(fault)
    # pydantic reports a list with wrong entries as too short as well: report the entries only
    bogus = [path for path, own in by_value.items() if own[0]["type"] == "too_short"
             and any(other[:len(path)] == path and other != path for other in by_value)]
    return [_explain(model, path, own) for path, own in by_value.items() if path not in bogus]


def _explain(model: type[BaseModel], path: tuple[str, ...], faults: list[dict[str, Any]]) -> str:
    key, kind, given = short(".".join(path)), faults[0]["type"], faults[0].get("input")
    shown = short(repr(given))
    if kind == "extra_forbidden":
        known = list(_field_model(model, path[:-1]).model_fields)
        return f"{key}: unknown setting.{did_you_mean(path[-1], known)} Known: {', '.join(known)}."
    if kind == "value_error":  # of a validator of ours, which says the whole sentence
        return f"{key}: {faults[0]['ctx']['error']}"
    if kind == "missing":
        return f"{key}: is needed and not given."
    if kind == "string_pattern_mismatch":  # what is allowed stands in the field's own description
        described = str(_field_model(model, path[:-1]).model_fields[path[-1]].description)
        return f"{key}: {shown} is not one of {described.rpartition(': ')[2]}."
    alternatives = [_allowed(fault, _bounds(model, path)) for fault in faults]
    if None in alternatives:
        return f"{key}: {shown}: {faults[0]['msg']}."
    return f"{key}: {shown} is not {' or '.join(str(allowed) for allowed in alternatives)}.{_inverse_hint(model, path, given)}"


def _inverse_hint(model: type[BaseModel], path: tuple[str, ...], given: Any) -> str:
    """Return a hint with the inverse of a value below 1, for a setting that some papers define as the inverse; else ""."""
    field = _field_model(model, path[:-1]).model_fields.get(path[-1])
    marked = field is not None and isinstance(field.json_schema_extra, dict) and INVERSE in field.json_schema_extra
    return inverse_hint(given) if marked and isinstance(given, float) else ""


def _allowed(fault: dict[str, Any], bounds: str) -> str | None:
    """Return what is allowed, to follow "is not"; None where only pydantic's own message says it."""
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "literal_error":
        expected = str(context["expected"])
        return f"one of {expected}" if " or " in expected else expected
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"a number {bounds}"
    if kind == "too_short":
        return f"long enough (at least {context['min_length']} {'entry' if context['min_length'] == 1 else 'entries'})"
    return f"{ALLOWED[kind]} {bounds}".strip() if kind in ALLOWED else None


def _value_path(model: type[BaseModel], fault: dict[str, Any]) -> tuple[str, ...]:
    """Return the key path of the wrong value, without pydantic's names for the alternatives of a union."""
    path = tuple(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return path
    known = [depth for depth, part in enumerate(path)
             if part.isdigit() or part in _field_model(model, path[:depth]).model_fields]
    return path[:known[-1] + 1] if known else path


def _field_model(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    """Return the model that has the last key of `path` as a field, following models and lists of models."""
    for name in path:
        if name.isdigit():
            continue
        field = model.model_fields.get(name)
        inner = [t for t in (field.annotation, *get_args(field.annotation))
                 if isinstance(t, type) and issubclass(t, BaseModel)] if field is not None else []
        if not inner:
            break
        model = inner[0]
    return model


def _bounds(model: type[BaseModel], path: Sequence[str]) -> str:
    """Return the bounds of the field at `path` in words, such as `above 0 and below 1`."""
    names = [part for part in path if not part.isdigit()]
    field = None
    for depth in range(len(names)):
        field = _field_model(model, names[:depth]).model_fields.get(names[depth], field)
    if field is None:
        return ""
    constraints = list(field.metadata)
    for alternative in get_args(field.annotation):  # of a union, each perhaps Annotated with its own
        for info in getattr(alternative, "__metadata__", ()):
            constraints += getattr(info, "metadata", ())
    words = []
    for constraint in constraints:
        words += [text.format(getattr(constraint, name)) for name, text in BOUNDS.items() if hasattr(constraint, name)]
    return " and ".join(words)
