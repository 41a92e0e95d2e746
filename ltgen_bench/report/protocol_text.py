"""Protocols as text: one, all of a run or a preset, and what differs between two."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from ltgen_bench.report.lookup import Measured
from ltgen_bench.report.protocols import differences, fields_in_words, in_all

SAME = "the same measurement"
LEAST = 20  # columns for a text after its word


def show_text(found: Measured, width: int) -> str:
    """The protocols of `found` as aligned lines of at most `width` columns: shared fields once, then the rest by measurement."""
    words = {key: fields_in_words(fields) for key, fields in found.measurements.items()}
    parts = [_aligned(list(found.about), width, "")]
    if len(words) == 1:
        return "\n".join([*parts, _aligned(list(next(iter(words.values())).items()), width, "")])
    shared = _shared(list(words.values()))
    parts += _group(f"all {len(words)} measurements", shared, width)
    for features in dict.fromkeys(own.get("features") for own in words.values()):
        members = {key: own for key, own in words.items() if own.get("features") == features}
        same = {} if features is None or len(members) == 1 else _shared(list(members.values()))
        same = {title: text for title, text in same.items() if title not in shared}
        parts += _group(f"all {len(members)} on {features} features", same, width) if same else []
        for key, own in members.items():
            rest = {title: text for title, text in own.items() if title not in {**shared, **same, "metric": ""}}
            parts += _group(heading(key, found), rest, width)
    return "\n".join(parts)


def heading(key: str, found: Measured) -> str:
    """`FID (inception)  1a2b3c4d`; a preset's measurement has no id."""
    fields = found.measurements[key]
    words = fields_in_words(fields)
    features = f" ({words['features']})" if "features" in words else ""
    reference = f" against {words['reference']}" if "@" in key else ""
    one = f"  {found.ids[key]}" if key in found.ids else ""
    return f"{words.get('metric', key)}{features}{reference}{one}"


def _shared(words: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {title: text for title, text in words[0].items() if all(own.get(title) == text for own in words)}


def _group(title: str, words: Mapping[str, str], width: int) -> list[str]:
    return [title, _aligned(list(words.items()), width, "  ")] if words else [title + "\n"]


def _aligned(lines: Sequence[tuple[str, str]], width: int, indent: str) -> str:
    """`word  text` lines with the texts in a column of their own, wrapped there, and an empty line at the end.

    In a narrow terminal the texts are below their words.
    """
    left = max((len(word) for word, _ in lines), default=0) + 2
    one_line = len(indent) + left + LEAST < width
    out = []
    for word, text in lines:
        first = f"{indent}{word:<{left}}" if one_line else f"{indent}    "
        out += [] if one_line else [f"{indent}{word}"]
        out += textwrap.wrap(text, max(len(first) + LEAST, width - 1), initial_indent=first,
                             subsequent_indent=" " * len(first), break_on_hyphens=False)
    return "\n".join([*out, ""])


def paired(a: Measured, b: Measured) -> dict[str, str]:
    """Measurement of `a` -> the one of `b` that it is compared with.

    Those of one metric and extractor go together, then those whose metric only one of the others on each side has: recall on
    Inception and recall on VGG16 of two papers. Two ids are compared whatever they measure.
    """
    if a.kind == b.kind == "protocol":
        return {next(iter(a.measurements)): next(iter(b.measurements))}
    pairs = {key: key for key in a.measurements if key in b.measurements}
    lone = [{key: fields.get("metric") for key, fields in side.measurements.items() if key not in pairs} for side in (a, b)]
    times = [Counter(side.values()) for side in lone]
    others = {metric: key for key, metric in lone[1].items()}
    return pairs | {key: others[metric] for key, metric in lone[0].items() if times[0][metric] == times[1][metric] == 1}


def compared(a: Measured, b: Measured) -> dict[str, list[str]]:
    """Measurement of `a` -> what differs from the one of `b` that it is paired with; nothing: the same.

    Where one side counts the generated images in all, both do, if the number of classes is known.
    """
    found = {}
    for key, other in paired(a, b).items():
        both = [a.measurements[key], b.measurements[other]]
        if any("images" in fields for fields in both):
            both = [in_all(fields, side.classes) for fields, side in zip(both, (a, b), strict=True)]
        found[key] = differences(both)
    return found


def only(a: Measured, b: Measured) -> list[str]:
    """The measurements of `a` that have none to compare with in `b`; empty where `b` is one id and `a` is none."""
    partners = paired(a, b)
    return [key for key in a.measurements if key not in partners and (b.kind != "protocol" or a.kind == "protocol")]


def diff_text(a: Measured, b: Measured, width: int) -> str:
    """What differs between `a` and `b`, measurement by measurement: what all pairs differ in once, then each pair's."""
    pairs, partners = compared(a, b), paired(a, b)
    lines = [f"{a} against {b}"]
    if len(pairs) == 1 and not only(a, b) and not only(b, a):
        ((key, differing),) = pairs.items()
        lines += [heading(key, a if key in a.measurements else b)] if a.kind != "protocol" or b.kind != "protocol" else []
        return "\n".join([*lines, *_phrases(differing or [SAME], width), ""])
    lines += [] if pairs else ["  no measurement in common"]
    found = {key: differing for key, differing in pairs.items() if differing}
    several = len(found) > 1
    shared = [phrase for phrase in next(iter(found.values()), []) if all(phrase in own for own in found.values())]
    if several and shared:
        lines += ["", f"in all {len(found)} that differ", *_phrases(shared, width)]
    for key, differing in found.items():
        rest = [phrase for phrase in differing if not several or phrase not in shared]
        if rest:
            other = partners[key]
            ids = [side.ids[one] for side, one in ((a, key), (b, other)) if one in side.ids]
            without_ids = Measured(a.kind, a.name, a.measurements)  # the ids of both sides come after the heading
            title = heading(key, without_ids) if key == other else fields_in_words(a.measurements[key])["metric"]
            lines += ["", f"{title}  {' against '.join(ids)}".rstrip()]
            lines += _phrases(rest, width)
    for title, side, keys in (
        (SAME, a, [key for key, differing in pairs.items() if not differing]),
        (f"only in {a}", a, only(a, b)),
        (f"only in {b}", b, only(b, a)),
    ):
        if keys:
            lines += ["", title, *_phrases([heading(key, side) for key in keys], width)]
    return "\n".join([*lines, ""])


def _phrases(phrases: Sequence[str], width: int) -> list[str]:
    return [line for phrase in phrases
            for line in textwrap.wrap(phrase, max(24, width - 1), initial_indent="  ", subsequent_indent="    ",
                                      break_on_hyphens=False)]
