"""The BibTeX of what methods cite: `references.bib` of this folder, and one beside a method's own file."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ltgen_bench.core.errors import UserError

ENTRY = re.compile(r"^@\w+\{\s*([^,\s]+)\s*,.*?^\}[ \t]*$", re.MULTILINE | re.DOTALL)
SHIPPED = Path(__file__).with_name("references.bib")


@dataclass(frozen=True)
class Work:
    """Something that a user uses and should cite: a method, or an augmentation. `module` is where it is defined."""

    name: str
    summary: str
    source: str
    cites: tuple[str, ...]
    module: str = __name__


def entries(path: Path) -> dict[str, str]:
    """Key -> BibTeX entry of a file, in its order; nothing where there is no such file.

    An entry begins with `@` and ends with `}`, both at the start of a line.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} could not be read: {error}.") from error
    return {match[1]: match[0].strip() for match in ENTRY.finditer(text)}


def citable(module: str = __name__) -> dict[str, str]:
    """What may be cited in a module: the shipped entries, and those of a `references.bib` beside its own file."""
    loaded = sys.modules.get(module)  # a user's file is no module that could be found by its name
    spec = find_spec(module) if loaded is None else None
    own = getattr(loaded, "__file__", None) if spec is None else spec.origin
    return {**entries(SHIPPED), **({} if own is None else entries(Path(own).with_name(SHIPPED.name)))}


def bibtex(works: Iterable[Work]) -> str:
    """What users of `works` should cite, as one BibTeX file: every entry once, under the first that cites it.

    A work without a paper has a comment instead. A key that is in no references.bib is a `UserError`.
    """
    parts: list[str] = []
    done: set[str] = set()
    for work in works:
        known = citable(work.module)
        unknown = [key for key in work.cites if key not in known]
        if unknown:
            raise UserError(f"{work.name} cites '{unknown[0]}', which is in no references.bib; known: {', '.join(known)}.")
        new = [key for key in work.cites if key not in done]
        above = [f"{key} is above" for key in work.cites if key in done]
        done.update(new)
        remark = work.summary if work.cites else f"no paper of its own; source: {work.source}"
        parts += [f"% {work.name}: {'; '.join([remark, *above])}", *(known[key] for key in new)]
    return "\n\n".join(parts) + "\n"
