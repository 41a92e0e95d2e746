"""Many, medium and few: every class falls in exactly one group of each rule."""

import numpy as np

GROUPS = ("many", "medium", "few")
RULES = ("thirds", "count")


def by_thirds(class_counts: list[int]) -> dict[str, list[int]]:
    """Thirds of the rank by training images, largest class first; equal counts keep the order of their labels.

    With K classes the borders stand at floor(K / 3) and floor(2 K / 3), so CIFAR-10 gives 3, 3 and 4 classes and
    CIFAR-100 33, 33 and 34 (the division used by CM, Hong et al., ICLR 2026). With two classes "many" is empty.
    """
    order = [int(c) for c in np.argsort(-np.asarray(class_counts), kind="stable")]
    first, second = len(order) // 3, 2 * len(order) // 3
    return {"many": sorted(order[:first]), "medium": sorted(order[first:second]), "few": sorted(order[second:])}


def by_count(class_counts: list[int]) -> dict[str, list[int]]:
    """The convention of long-tailed recognition: more than 100 training images, 20 to 100, fewer than 20."""
    groups: dict[str, list[int]] = {name: [] for name in GROUPS}
    for label, count in enumerate(class_counts):
        groups["many" if count > 100 else "medium" if count >= 20 else "few"].append(label)
    return groups


def all_groups(class_counts: list[int]) -> dict[str, list[int]]:
    """Scope name -> classes: `many@thirds`, ..., `few@count`. An empty group is there, with no classes."""
    by_rule = {"thirds": by_thirds(class_counts), "count": by_count(class_counts)}
    return {f"{group}@{rule}": by_rule[rule][group] for rule in RULES for group in GROUPS}
