"""Attributes of registered classes and objects, read from their source files without importing them (and torch)."""

import ast
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def source_facts(place: str, names: Iterable[str]) -> dict[str, Any]:
    """Return the attributes `names` of the object at `place` (`"package.module:name"`) that its source gives as literals.

    For a class these are class attributes, its own or inherited; for an object the keyword arguments of its constructor.
    Attributes that are not literals are left out. The parent package is imported, the module itself is not.
    """
    module, _, name = place.partition(":")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # of a package that holds it
        return {}
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return {}
    body = ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
    wanted = set(names)
    known = {"__module__": module} if "__module__" in wanted else {}
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(node, body, module, wanted) | known
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _is_named(node.targets, name):
            return known | _literals(((word.arg, word.value) for word in node.value.keywords if word.arg is not None), wanted)
    return {}


def _of_class(node: ast.ClassDef, body: list[ast.stmt], module: str, wanted: set[str]) -> dict[str, Any]:
    assigned = [(target.id, part.value) for part in node.body if isinstance(part, ast.Assign)
                for target in part.targets if isinstance(target, ast.Name)]
    assigned += [(part.target.id, part.value) for part in node.body
                 if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and part.value is not None]
    found = _literals(assigned, wanted)
    left = wanted - {name for name, _ in assigned}  # an attribute that is no literal here is not inherited
    for base in node.bases:
        if left and isinstance(base, ast.Name):
            inherited = source_facts(_place_of(base.id, body, module), left)
            found |= inherited
            left -= set(inherited)
    return found


def _literals(assigned: Iterable[tuple[str, ast.expr]], wanted: set[str]) -> dict[str, Any]:
    found = {}
    for name, value in assigned:
        if name in wanted:
            try:
                found[name] = ast.literal_eval(value)
            except ValueError:  # not a literal: the caller must import the object
                continue
    return found


def _is_named(targets: list[ast.expr], name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _place_of(name: str, body: list[ast.stmt], module: str) -> str:
    """Return `"package.module:name"` of a base class: from the import statement that names it, else in `module` itself."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return f"{node.module}:{alias.name}"
    return f"{module}:{name}"
