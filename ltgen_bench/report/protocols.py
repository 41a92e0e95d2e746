"""The measurement in words: every field of a protocol, and what differs between two of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltgen_bench.core.words import listed
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.protocol import REFERENCES, SELECTIONS

Fields = Mapping[str, Any]

NOT_STATED = "not stated"


def _metric(name: str) -> str:
    return METRICS[name].title if name in METRICS else name


def _looked_up(words: Mapping[str, str]) -> Callable[[Any], str]:
    return lambda value: words.get(value, str(value))


def _counted(words: str = "") -> Callable[[Any], str]:
    return lambda value: f"{value:,}{words}" if isinstance(value, int) else f"{value}{words}"


# field of a protocol -> (what it is called, how its value is worded). Both ways of counting the generated images have
# one name: a protocol states only one of them.
FIELDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "metric": ("metric", _metric),
    "revision": ("revision of the metric", str),
    "reference": ("reference", _looked_up(REFERENCES)),
    "reference_half": ("half of the reference", "the {} half".format),
    "reference_per_class": ("real images", _counted(" a class")),
    "images": ("generated images", _counted(" in all")),
    "images_per_class": ("generated images", _counted(" a class")),
    "labels": ("labels of the generated images", str),
    "sample_dtype": ("pixels of the generated images", str),
    "selection": ("guidance", _looked_up(SELECTIONS)),
    "extractor": ("features", str),
    "weights": ("weights of the extractor", str),
    "resize": ("resize rule", str),
    "settings": ("settings of the metric", str),  # in their place, each with the title that the metric gives it
    "counts": ("images that are compared", str),
    "training": ("classifier", str),
    "steps": ("steps of the classifier", _counted()),
    "groups": ("groups of classes", lambda rules: "by " + listed([str(rule) for rule in rules])),
    "data": ("fingerprint of the data", str),
}
# what a whole protocol means where it leaves a field out; of any other field it says nothing
LEFT_OUT = {"reference_half": "all of it", "reference_per_class": "all"}
WHOLE = ("metric", "data")  # a preset states no data, so that it is no whole protocol


def fields_in_words(fields: Fields, *others: Fields) -> dict[str, str]:
    """Title of each field that is stated -> its value in words, in the order of FIELDS; unknown fields come last.

    The settings of a metric have the titles that the metric gives them, be it that of `fields` or of one of `others`.
    """
    known = _known(fields, *others)
    found = {title: words(fields[name]) for name, (title, words) in known.items() if fields.get(name) is not None}
    return found | {name: str(value) for name, value in fields.items() if name not in known and value is not None}


def _known(*sides: Fields) -> dict[str, tuple[str, Callable[[Any], str]]]:
    """FIELDS with the settings of the metrics of `sides` where `settings` stands."""
    names = [str(fields.get("metric")) for fields in sides]
    settings = {key: words for name in names if name in METRICS for key, words in METRICS[name].settings.described().items()}
    found: dict[str, tuple[str, Callable[[Any], str]]] = {}
    for key, words in FIELDS.items():
        found |= settings if key == "settings" else {key: words}
    return found


def differences(sides: Sequence[Fields]) -> list[str]:
    """What differs between protocols, a phrase a field: `k: 5 against 3`, in the order of FIELDS; empty when nothing does.

    A field that one side leaves out is `not stated` there.
    """
    words = [fields_in_words(fields, *sides) for fields in sides]
    titles = dict.fromkeys(title for title, _ in _known(*sides).values()) | dict.fromkeys(title for own in words for title in own)
    found = []
    for title in titles:
        values = [own.get(title, _left_out(title, fields)) for own, fields in zip(words, sides, strict=True)]
        if any(title in own for own in words) and len(set(values)) > 1:
            found.append(f"{title}: {' against '.join(dict.fromkeys(values))}")
    return found


def _left_out(title: str, fields: Fields) -> str:
    whole = all(name in fields for name in WHOLE)
    return next((words for name, words in LEFT_OUT.items() if whole and FIELDS[name][0] == title), NOT_STATED)


def in_all(fields: Fields, classes: int | None) -> dict[str, Any]:
    """`fields` with the generated images counted in all instead of by class, where the number of classes is known."""
    per_class = fields.get("images_per_class")
    if per_class is None or classes is None:
        return dict(fields)
    return {name: value for name, value in fields.items() if name != "images_per_class"} | {"images": per_class * classes}


def measurement_keys(described: Mapping[str, Fields]) -> dict[str, str]:
    """Id -> `metric:extractor` for the protocols of one run (id -> fields), in their order.

    Of two with one metric and extractor, as in a preset with two references, the later has its reference behind it.
    """
    found: dict[str, str] = {}
    for one, fields in described.items():
        key = ":".join(str(fields[name]) for name in ("metric", "extractor") if fields.get(name) is not None) or one
        for longer in (key, f"{key}@{fields.get('reference')}", f"{key}@{one}"):
            if longer not in found.values():
                found[one] = longer
                break
    return found
