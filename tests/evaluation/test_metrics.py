"""Scores against slow references written out by hand, and at the edges where a score is undefined."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from hemacell.evaluation.calibration_error import calibration_bins, expected_calibration_error
from hemacell.evaluation.metrics import classification_metrics, one_vs_rest_auroc

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def predictions(n=120, classes=5, seed=0, scale=1.5):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(0, scale, (n, classes))
    logits[np.arange(n), labels] += 1.5
    p = np.exp(logits)
    return labels, p / p.sum(1, keepdims=True)


def slow_scores(labels, p, classes):
    """Definitions, one image at a time."""
    predicted = [max(range(len(classes)), key=lambda c, row=row: row[c]) for row in p]
    out = {"accuracy": sum(a == b for a, b in zip(labels, predicted, strict=True)) / len(labels)}
    f1s, recalls, areas = [], [], []
    for c, name in enumerate(classes):
        hit = sum(a == c and b == c for a, b in zip(labels, predicted, strict=True))
        said, there = sum(b == c for b in predicted), sum(a == c for a in labels)
        if said or there:
            out[f"precision/{name}"] = hit / said if said else 0.0
            out[f"f1/{name}"] = 2 * hit / (said + there)
            f1s.append(out[f"f1/{name}"])
        if there:
            out[f"recall/{name}"] = hit / there
            recalls.append(hit / there)
        if 0 < there < len(labels):  # the share of (own, other) pairs in the right order
            own = [row[c] for a, row in zip(labels, p, strict=True) if a == c]
            others = [row[c] for a, row in zip(labels, p, strict=True) if a != c]
            pairs = [1.0 if x > y else 0.5 if x == y else 0.0 for x in own for y in others]
            areas.append(sum(pairs) / len(pairs))
    out["macro_f1"] = sum(f1s) / len(f1s)
    out["balanced_accuracy"] = sum(recalls) / len(recalls)
    if areas:
        out["auroc"] = sum(areas) / len(areas)
    out["nll"] = -sum(math.log(row[a]) for a, row in zip(labels, p, strict=True)) / len(labels)
    out["ece"] = slow_ece(labels, p)
    return out


def slow_ece(labels, p, bins=15):
    total = 0.0
    for b in range(bins):
        inside = [
            (max(row), row.argmax() == a)
            for a, row in zip(labels, p, strict=True)
            if b / bins <= max(row) and (max(row) < (b + 1) / bins or b == bins - 1)
        ]
        if inside:
            gap = sum(right for _, right in inside) - sum(confidence for confidence, _ in inside)
            total += abs(gap) / len(labels)
    return total


@pytest.mark.parametrize(("n", "classes", "seed"), [(12, 5, 0), (120, 5, 1), (300, 5, 2), (60, 2, 3), (40, 7, 4)])
def test_scores_equal_the_definitions(n, classes, seed):
    names = [f"class {c}" for c in range(classes)]
    labels, p = predictions(n, classes, seed)
    metrics = classification_metrics(labels, p, names)
    expected = slow_scores(labels, p, names)
    assert metrics.keys() == expected.keys()
    for key, value in expected.items():
        assert metrics[key] == pytest.approx(value, abs=1e-9), key


def test_scores_equal_scikit_learns_own():
    labels, p = predictions()
    metrics = classification_metrics(labels, p, CLASSES)
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, p.argmax(1), average="macro"))
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, p.argmax(1)))
    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels, p, multi_class="ovr", average="macro"))
    assert all(type(value) is float for value in metrics.values())


def test_answering_one_class_for_all_has_a_low_macro_f1_though_it_is_often_right():
    labels = np.array([4] * 61 + [0] * 10 + [1] * 10 + [2] * 10 + [3] * 9)
    p = np.full((100, 5), 0.05)
    p[:, 4] = 0.8
    metrics = classification_metrics(labels, p, CLASSES)
    assert metrics["accuracy"] == pytest.approx(0.61)
    assert metrics["macro_f1"] == pytest.approx(2 * 61 / 161 / 5)
    assert metrics["balanced_accuracy"] == pytest.approx(0.2)
    assert metrics["auroc"] == pytest.approx(0.5)
    assert metrics["precision/Basophil"] == 0.0


def test_a_class_that_is_neither_there_nor_predicted_costs_nothing():
    labels, p = predictions(seed=5)
    kept = (labels != 0) & (p.argmax(1) != 0)
    metrics = classification_metrics(labels[kept], p[kept], CLASSES)
    assert not any(key.endswith("/Basophil") for key in metrics)
    assert metrics["macro_f1"] == pytest.approx(np.mean([metrics[f"f1/{name}"] for name in CLASSES[1:]]))
    assert metrics["auroc"] == pytest.approx(slow_scores(labels[kept], p[kept], CLASSES)["auroc"])


def test_a_class_that_is_not_there_but_predicted_counts_as_zero():
    p = np.eye(5)[[1, 1, 2, 0]]
    metrics = classification_metrics([1, 1, 2, 2], p, CLASSES)
    assert metrics["f1/Basophil"] == metrics["precision/Basophil"] == 0.0
    assert "recall/Basophil" not in metrics
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_one_class_alone_has_no_auroc_and_nothing_is_ever_nan():
    metrics = classification_metrics([2, 2, 2], np.eye(5)[[2, 2, 1]], CLASSES)
    assert "auroc" not in metrics
    assert one_vs_rest_auroc([2, 2], np.eye(5)[[2, 2]]) == {}
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_confident_mistake_has_a_finite_likelihood():
    assert math.isfinite(classification_metrics([0, 1], np.eye(2)[[1, 1]], ("a", "b"))["nll"])


@pytest.mark.parametrize(
    ("labels", "p", "message"),
    [
        ([], np.zeros((0, 5)), "N > 0"),
        ([0.0], np.eye(5)[:1], "integers"),
        ([5], np.eye(5)[:1], r"0\.\.4"),
        ([-1], np.eye(5)[:1], r"0\.\.4"),
        ([0, 1], np.eye(5)[:1], "one label a row"),
        ([0], np.eye(4)[:1], "C = 5"),
        ([0], np.array([[5.0, -1, 0, 0, 0]]), "logits"),
        ([0], np.full((1, 5), np.nan), "logits"),
        ([0], np.full((1, 5), 20.0), "sum to 1"),
    ],
)
def test_what_is_no_probability_is_refused(labels, p, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, p, CLASSES)


def test_half_precision_rows_that_miss_one_a_little_are_taken():
    labels, p = predictions()
    coarse = torch.from_numpy(p).bfloat16().float().numpy()
    assert np.abs(coarse.sum(1) - 1).max() > 1e-4
    nll = classification_metrics(labels, coarse, CLASSES)["nll"]
    assert nll == pytest.approx(classification_metrics(labels, p, CLASSES)["nll"], abs=0.01)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_equals_its_definition_and_its_bins(bins):
    labels, p = predictions(400, scale=3)
    p[:20] = np.eye(5)[labels[:20]]  # certain, and right
    p[20:23] = np.eye(5)[(labels[20:23] + 1) % 5]  # certain, and wrong
    error = expected_calibration_error(labels, p, bins)
    table = calibration_bins(labels, p, bins)
    used = table.count > 0
    gaps = np.abs(table.accuracy - table.confidence)[used] * table.count[used]
    assert error == pytest.approx(slow_ece(labels, p, bins), abs=1e-9)
    assert error == pytest.approx(gaps.sum() / len(labels), abs=1e-9)
    assert table.count.sum() == len(labels)
    assert np.isnan(table.accuracy[~used]).all()


def test_calibration_error_of_known_cases():
    right = np.eye(2)[[0, 1, 0, 1]]
    assert expected_calibration_error([0, 1, 0, 1], right) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error([1, 0, 1, 0], right) == pytest.approx(1.0)
    assert expected_calibration_error([0, 0, 0, 1], np.tile([0.8, 0.2], (4, 1))) == pytest.approx(0.05)
    # a confident mistake shares the last bin with less confident predictions
    certain_and_modest = [[1.0, 0.0]] + [[0.95, 0.05]] * 10
    assert expected_calibration_error([1] + [0] * 10, certain_and_modest) == pytest.approx(0.5 / 11)
