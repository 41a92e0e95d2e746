"""Recipe files (TOML), and settings given as `KEY=VALUE`."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.core.validation import short

DEEPEST = 16  # tables within tables; settings have two or three
LONG_NUMBER = "a whole number in it is too long, and 64 bits are allowed"
NESTED = f"its lists or tables are nested too deeply, and {DEEPEST} levels are allowed"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file. Raises `UserError` where it is missing, unreadable or malformed (with the line)."""
    try:
        return parse_toml(path.read_text(encoding="utf-8-sig"))  # accept a byte order mark
    except FileNotFoundError:
        raise UserError(f"there is no recipe {path}.   (ltgen-bench list recipes)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the recipe {path} could not be read: {error}.") from error
    except ValueError as error:
        form = _other_form(path) if isinstance(error, tomllib.TOMLDecodeError) else ""
        raise UserError(f"{path} is {form}; a recipe is TOML, such as `ltgen-bench run --dry-run` prints." if form else
                        f"{path} is not valid TOML: {error}.") from error


def _other_form(path: Path) -> str:
    """Return `JSON` or `YAML` where a file that is not TOML seems to be that, else an empty text."""
    text = path.read_text(encoding="utf-8-sig")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
        yaml = path.suffix.lower() in (".yaml", ".yml") or first == "---" or re.match(r"[\w.-]+:(\s|$)", first)
        return "YAML" if yaml else "JSON" if path.suffix.lower() == ".json" else ""
    return "JSON"


def recipe_path(dataset: str, method: str) -> Path:
    """Return the path of the shipped recipe of a method on a data set, which may not exist."""
    return shipped_folder("baselines") / dataset / f"{method}.toml"


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` (`method.tau`) in nested dictionaries; the value None removes it."""
    *parents, last = key.split(".")
    if len(parents) > DEEPEST:
        raise UserError(f"--set {short(key)}: it has {len(parents) + 1:,} parts, and no setting is nested so deeply.")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {key}: '{parent}' is a single value, it has no '{last}'.")
    if value is None:
        values.pop(last, None)
    else:
        values[last] = value


def parse_setting(text: str) -> tuple[str, Any]:
    """Return (key, value) of `method.tau=0.5`; the value is read as TOML, else taken as text. Raises `UserError`."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {short(text)}: write it as KEY=VALUE, for example --set method.tau=0.5")
    try:
        parsed = parse_toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    except ValueError as error:
        raise UserError(f"--set {short(text)}: {error}.") from error
    return key.strip(), parsed


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values of a TOML text. Raises `ValueError` for invalid TOML, integers beyond 64 bits and too deep nesting."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(NESTED) from None
    except ValueError as error:  # of a number with thousands of digits
        raise ValueError(LONG_NUMBER) from error
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        inner = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]
        if any(isinstance(value, int) and value.bit_length() > 63 for value in inner):
            raise ValueError(LONG_NUMBER)
        level = [value for value in inner if isinstance(value, dict | list)]
    if level:
        raise ValueError(NESTED)
    return values
