"""Protocol fields that a published row states explicitly; what is not stated stays empty."""

import re

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
