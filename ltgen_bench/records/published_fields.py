"""What the text of a published row states: units as factors to this program's, and protocol fields; else they stay empty."""

import re
import unicodedata

KNOWN = "percent (or %), per mille, fraction, raw, x1e-3, x1e3, x10^-3, x1000, x100"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
# every sign for "times" becomes x; brackets, dollars and spaces are dropped
TIMES = "\N{MULTIPLICATION SIGN}✕✖·•⋅∙*\N{ASTERISK OPERATOR}"
_PLAIN = str.maketrans({**dict.fromkeys(TIMES, "x"), **dict.fromkeys("−–—‐‑", "-"),  # noqa: RUF001  (dashes are meant)
                        **dict.fromkeys(" \t()[]{}$\\:=", "")})
_WORDS = {"percent": -2, "per cent": -2, "percents": -2, "percentage": -2, "percentages": -2, "percentage points": -2, "pct": -2,
          "%": -2, "per mille": -3, "per mill": -3, "permille": -3, "permil": -3, "promille": -3, "‰": -3, "fraction": 0,
          "fractions": 0, "raw": 0, "raw value": 0, "raw values": 0, "unscaled": 0, "ratio": 0, "share": 0, "proportion": 0,
          "decimal": 0, "0-1": 0, "0 to 1": 0, "x1": 0, "1": 0, "x1.0": 0, "1.0": 0}
_EXPONENTS = {re.sub("[ ]", "", words): exponent for words, exponent in _WORDS.items()}
_POWER = re.compile(r"x?(?:10\^|10xx|1e)(?P<power>[+-]?[0-9]{1,2})x?|x?1(?P<zeros>0{1,6})x?")
_AROUND = (r"(?:values?|units?|scores?|given|printed|reported|scaled|multiplied|are|in|as|by|kid|fid|is|recall|precision"
           r"|accuracy)+")
_NOT = re.compile(r"\(not [^()]{1,40}\)")
# signs of a unit: such a text is refused where the unit is unknown
_SIGNS = re.compile(
    "[" + re.escape("%‰‱^÷" + TIMES) + "⁰¹²³⁴⁵⁶⁷⁸⁹⁻]"
    r"|\b[0-9.]+e[+-]?[0-9]+\b|\bx ?[0-9]|[0-9] ?x\b|\b10+\b|\\times|\b(?:per ?cents?|percentages?|percentiles?|pct|per ?mille?"
    r"|promille|permil|fractions?|raw|scaled|times|multiplied|divided|thousands?|thousandths?|hundreds?|hundredths?|millions?|milli"
    r"|centi|basis|points?|bps?|units?|ratio|decimals?|log[0-9]*|dB)\b", re.IGNORECASE)
# what a remark on how a number was measured is about; a note that is neither a remark nor a unit is refused
_REMARKS = re.compile(r"(?:features?|backbone|model|network|class|image|sample|minus|conditional|guidance|weights|implementation|"
                      r"statistics|inception|clip|dino|vgg|resnet|fid|kid|paper|subset|split|seed|runs?\b|epoch|step|train|test|"
                      r"real|generated|synthetic|reference|mean|average|best|last|tail|head|few|many|medium|resolution|pixel|"
                      r"official|code|repo|table|figure|appendix|authors?)", re.IGNORECASE)
LONGEST = 60  # characters of a unit

# what the files write about the real images -> which of ours they are. Other texts name no one set: "entire dataset" may
# hold test images, "equal number of real images per tail class" does not say of which.
REFERENCE_SETS = {
    "balanced train split": "train",
    "balanced train split, 50000 real images": "train",
    "cifar10.train.npz statistics": "train",
    "cifar100.train.npz statistics": "train",
    "distribution of the largest available training set (before artificial imbalance)": "train",
    "train": "train",
    "test": "test",
    "val": "test",
    "longtail": "longtail",
}
LOOSE = ("train", "val")  # texts that do not identify one set of images
EXTRACTOR = re.compile(r"\b(inception|clip)(?:v3)? (?:features|backbone)")
GROUP_RULE = re.compile(r"\bsplits are (thirds|by count)\b")
MOST_STEPS = 1_000_000  # a larger number cannot be a count of network evaluations


def unit_factor(note: str) -> float | None:
    """Return the factor from the unit in `note` to this program's units; None where the note names no unit.

    `percent` and `%` give 0.01; `x1e-3`, `x1e3`, `x 10^-3` and similar give 0.001 whatever the sign, since such headings
    stand above numbers that are printed larger. The note may have further remarks after semicolons or commas. Raises
    `ValueError` for an unknown unit, or where there are several.
    """
    found: dict[float, str] = {}
    for part in _parts(note):
        exponent = _exponent(part)
        if exponent is not None:
            found[10.0**exponent] = part
        elif _SIGNS.search(part) or not _REMARKS.search(part):
            quoted = part if len(part) <= LONGEST else f"{part[:LONGEST]}…"
            raise ValueError(f"'{quoted}' is no unit known here; known: {KNOWN}. Remarks belong into the column notes")
    if len(found) > 1:
        raise ValueError(f"{' and '.join(repr(part) for part in found.values())} are two units of one number; name one")
    return next(iter(found), None)


def _parts(note: str) -> list[str]:
    parts = re.split("[;,]", _NOT.sub("", note))
    return [part.strip() for part in parts if part.strip()]


def _exponent(text: str) -> int | None:
    """Return the power of ten of a unit; None for a text that is no unit."""
    if len(text) > LONGEST:
        return None
    raised = _RAISED.sub(lambda found: "^" + found[0].translate(_SUPERSCRIPTS), text)
    plain = unicodedata.normalize("NFKC", raised).casefold().replace("\\times", "x").replace("\\cdot", "x").replace("times", "x")
    bare = plain.translate(_PLAIN).rstrip(".")
    for candidate in (bare, re.sub(f"^{_AROUND}", "", bare), re.sub(f"{_AROUND}$", "", bare)):
        if candidate in _EXPONENTS:
            return _EXPONENTS[candidate]
        found = _POWER.fullmatch(candidate)
        if found:
            return -abs(int(found["power"])) if found["power"] else -len(found["zeros"])
    return None


def reference_set(text: str) -> str:
    """Return `train`, `test` or `longtail` for a text of the column `reference`; empty where it names none of them."""
    return REFERENCE_SETS.get(text.lower(), "")


def extractor(metric: str, unit_note: str) -> str:
    """Return `inception` or `clip`, from the name of the metric or the note; empty where neither states it."""
    if metric.endswith("_clip"):
        return "clip"
    found = EXTRACTOR.search(unit_note.lower())
    return found[1] if found else ""


def group_rule(split: str, notes: str) -> str:
    """Return `thirds` or `count` for a row of a group whose notes say `splits are thirds` or `splits are by count`."""
    found = GROUP_RULE.search(notes) if split != "all" else None
    return found[1].removeprefix("by ") if found else ""


def sampler(text: str) -> tuple[str, int | None]:
    """Return (name, network evaluations per image): (`ddim`, 50) for `ddim-50`, (`deis`, None) for `deis`."""
    plain = text.strip().lower()
    counted = plain.removesuffix("nfe").removesuffix("steps").rstrip(" ")
    name = counted.rstrip("0123456789")
    digits = counted[len(name):]
    if digits and len(digits) < 10 and int(digits) <= MOST_STEPS and name.endswith(("-", ",", " ")):
        return name.rstrip("-, "), int(digits)
    return plain, None
