"""Groups of classes (many, medium, few) by two rules; every class is in exactly one group of each rule."""

import numpy as np

GROUPS = ("many", "medium", "few")
RULES = ("thirds", "count")


def by_thirds(class_counts: list[int]) -> dict[str, list[int]]:
    """Return the groups by thirds of the rank of training images, largest class first; equal counts are ordered by label.

    With K classes the borders are floor(K / 3) and floor(2 K / 3): 3, 3 and 4 classes for CIFAR-10, and 33, 33 and 34 for
    CIFAR-100 (the division of CM, Hong et al., ICLR 2026). With two classes "many" is empty.
    """
    order = [int(c) for c in np.argsort(-np.asarray(class_counts), kind="stable")]
    first, second = len(order) // 3, 2 * len(order) // 3
    return {"many": sorted(order[:first]), "medium": sorted(order[first:second]), "few": sorted(order[second:])}


def by_count(class_counts: list[int]) -> dict[str, list[int]]:
    """Return the groups of long-tailed recognition: more than 100 training images, 20 to 100, fewer than 20."""
    groups: dict[str, list[int]] = {name: [] for name in GROUPS}
    for label, count in enumerate(class_counts):
        groups["many" if count > 100 else "medium" if count >= 20 else "few"].append(label)
    return groups


def all_groups(class_counts: list[int]) -> dict[str, list[int]]:
    """Return scope name -> classes: `many@thirds`, ..., `few@count`; groups may be empty."""
    by_rule = {"thirds": by_thirds(class_counts), "count": by_count(class_counts)}
    return {f"{group}@{rule}": by_rule[rule][group] for rule in RULES for group in GROUPS}
