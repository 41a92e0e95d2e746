import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from ltgen_bench.evaluation.downstream import downstream_rows
from ltgen_bench.evaluation.measure import scopes_of
from ltgen_bench.evaluation.metrics.accuracy import confusion, label_accuracy


def test_label_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((200, 4)).astype(np.float32), rng.integers(0, 4, 200)
    logits[np.arange(150), labels[:150]] += 2
    assert label_accuracy(logits, labels) == accuracy_score(labels, logits.argmax(axis=1))


def test_downstream_rows_are_scikit_learns_accuracies_and_recalls(tiny_dataset):
    rng = np.random.default_rng(0)
    labels = tiny_dataset.test.labels
    predicted = np.where(rng.random(len(labels)) < 0.7, labels, rng.integers(0, 3, len(labels)))
    rows = downstream_rows({"synthetic": predicted}, labels, scopes_of(tiny_dataset), n_synthetic=30,
                           asked=np.zeros(len(tiny_dataset.test), dtype=bool))
    by_scope = {row["scope"]: row for row in rows if row["metric"] == "downstream_accuracy"}
    recalls = [row["value"] for row in rows if row["metric"] == "downstream_recall"]
    assert by_scope["all"]["value"] == accuracy_score(labels, predicted)
    assert recalls == recall_score(labels, predicted, average=None).tolist()
    few = np.isin(labels, tiny_dataset.groups["few@thirds"])
    assert by_scope["few@thirds"]["value"] == accuracy_score(labels[few], predicted[few])
    assert by_scope["few@thirds"]["n_real"] == few.sum()
    assert by_scope["many@count"]["note"] == "no classes in this group"
    assert "value" not in by_scope["many@count"]


def test_real_images_alone_use_no_generated_ones(tiny_dataset):
    predictions = dict.fromkeys(("real-lt", "synthetic", "real-lt+synthetic"), tiny_dataset.test.labels)
    rows = downstream_rows(predictions, tiny_dataset.test.labels, scopes_of(tiny_dataset), n_synthetic=30,
                           asked=np.zeros(len(tiny_dataset.test), dtype=bool))
    used = {row["train_data"]: row["n_generated"] for row in rows}
    assert used == {"real-lt": None, "synthetic": 30, "real-lt+synthetic": 30}


def test_confusion_counts_each_pair_of_label_and_prediction():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((50, 4)).astype(np.float32), rng.integers(0, 3, 50)  # class 3 has no image
    expected = np.full((4, 4), np.nan)
    for label in range(3):
        rows = [row.tolist() for row, known in zip(logits, labels, strict=True) if known == label]
        for seen in range(4):
            expected[label, seen] = sum(row.index(max(row)) == seen for row in rows) / len(rows)
    found = confusion(logits, labels)
    np.testing.assert_array_equal(found, expected)
    assert found[:3].sum(axis=1) == pytest.approx(1)
    right = np.diag(found)[:3] @ np.bincount(labels) / 50
    assert right == pytest.approx(label_accuracy(logits, labels))
