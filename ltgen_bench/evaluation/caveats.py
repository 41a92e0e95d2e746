"""Copies and repeats among generated images: counted, and noted at every score whose metric does not penalise them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.measure import Scope
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.metrics.metric import HELD_OUT, OTHER_CLASS, REPEATED, Blind
from ltgen_bench.evaluation.subsets import canonical
from ltgen_bench.runtime.context import RunContext

LEAST, SHARE = 3, 0.01  # images, and share of all, above which near copies are reported: of unseen real images half a percent are
NAMED = 5  # classes

Mask = Bool[np.ndarray, " _"]


@dataclass(frozen=True)
class CopyFindings:
    """What was found among the generated images.

    `sentences` for the record; `masks`: by kind of copy, which generated images are such; `held_out`: which held-out images (in
    canonical order) have a copy among the generated ones.
    """

    generated: ImageSet
    sentences: tuple[str, ...]
    masks: dict[Blind, Mask]
    held_out: Mask

    def with_notes(self, rows: Sequence[dict[str, Any]], scopes: Sequence[Scope]) -> list[dict[str, Any]]:
        """`rows` of scores, each with a note on the copies in its scope that its metric does not penalise."""
        inside = {(scope.name, scope.label): np.isin(self.generated.labels, scope.classes) for scope in scopes}
        return [self._with_note(row, inside[row["scope"], row["label"]]) for row in rows]

    def _with_note(self, row: dict[str, Any], inside: Mask) -> dict[str, Any]:
        """`row` with its note, in which brackets hold the numbers of its scope."""
        blind = [name for name in METRICS[row["metric"]].blind_to if name in self.masks and "value" in row]
        counts = [(name, int((self.masks[name] & inside).sum())) for name in blind]
        words = [f"does not count {name} ({count:,} of {inside.sum():,})" for name, count in counts if count]
        return {**row, "note": "; ".join([*words, *filter(None, [row.get("note", "")])])}


def find_caveats(generated: ImageSet, real_data: LongTailDataset, context: RunContext) -> CopyFindings:
    """Find copies of held-out images, of training images of other classes, and of one another among `generated`.

    Every exact copy counts; near copies count where they are more than `SHARE` of the images.
    """
    from ltgen_bench.evaluation.copies import find_copies  # torch, without which this module is imported

    test = canonical(real_data.test)
    with context.progress.stage("copies", len(generated), "images") as stage:
        found = find_copies(generated, real_data.train, real_data.reference, test, str(context.device))
        stage.advance(len(generated))
    near = _many(found.held_out.found)
    of_test = found.held_out.found if near else found.held_out.equal
    repeats = found.again if _many(found.again) else found.again_equal
    other = found.other_label if _many(found.other_label) else found.other_label & found.training.equal
    masks: dict[Blind, Mask] = {HELD_OUT: of_test, REPEATED: repeats, OTHER_CLASS: other}
    names = real_data.class_names
    exact = f", {found.held_out.equal.sum():,} of them pixel for pixel" if found.held_out.equal.any() else ""
    sentences = [
        f"{_count(of_test, generated, names)} are copies of held-out images{exact}: their scores are those of real "
        "images, and tell nothing of a model.",
        f"{_count(repeats, generated, names)} repeat another one, {len(generated) - repeats.sum():,} are distinct: "
        f"{_listed(REPEATED)} do not count that.",
        f"{_count(other, generated, names)} are copies of training images of other classes: {_listed(OTHER_CLASS)} look within "
        "the class.",
    ]
    told = tuple(sentence for sentence, mask in zip(sentences, masks.values(), strict=True) if mask.any())
    return CopyFindings(generated, told, {name: mask for name, mask in masks.items() if mask.any()},
                 found.held_out.of_found if near else found.held_out.of_equal)


def _many(mask: Mask) -> bool:
    return bool(mask.sum() >= LEAST and mask.mean() > SHARE)


def _count(mask: Mask, generated: ImageSet, names: Sequence[str]) -> str:
    """`12 of 450 generated images (classes 8 and 9)`; the classes where they are few."""
    classes = [names[label] for label in np.unique(generated.labels[mask])]
    word = "class" if len(classes) == 1 else "classes"
    where = f" ({word} {', '.join(classes)})" if len(classes) <= NAMED and len(classes) < len(names) else ""
    return f"{mask.sum():,} of {len(mask):,} generated images{where}"


def _listed(what: Blind) -> str:
    titles = [METRICS[name].title for name in METRICS if what in METRICS[name].blind_to]
    return f"{', '.join(titles[:-1])} and {titles[-1]}"
