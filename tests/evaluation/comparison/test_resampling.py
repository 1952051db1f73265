"""Resampled scores against a loop over images, scipy's bootstrap and scores whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from hemacell.core.errors import UserError
from hemacell.evaluation.comparison.resampling import (
    MatchedPredictions,
    draw_weights,
    image_weights,
    match_predictions,
    mean_over_draws,
    percentile_interval,
    resampled_metrics,
)
from hemacell.evaluation.metrics import ConfusionCounts, classification_metrics, confusion_metrics, macro_f1
from hemacell.evaluation.predictions import Predictions

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def matched(runs=4, images=80, classes=5, right=0.7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    guesses = rng.integers(0, classes, (runs, images))
    predicted = np.where(rng.random((runs, images)) < right, labels, guesses)
    return MatchedPredictions(tuple(f"class {c}" for c in range(classes)), labels, predicted, 0)


@pytest.mark.parametrize("seed", range(30))
def test_scores_of_a_confusion_matrix_are_those_that_are_logged(seed):
    rng = np.random.default_rng(seed)
    some = rng.choice(5, rng.integers(1, 6), replace=False)  # classes among the labels, often not all
    said = rng.choice(5, rng.integers(1, 6), replace=False)
    labels, predicted = rng.choice(some, 25), rng.choice(said, 25)
    logged = classification_metrics(labels, np.eye(5)[predicted], CLASSES)
    counts = MatchedPredictions(CLASSES, labels, predicted[None], 0).confusion()
    found = {name: float(value[0]) for name, value in confusion_metrics(counts, CLASSES).items()}
    for name, value in found.items():
        assert value == pytest.approx(logged[name]) if name in logged else np.isnan(value), name
    assert {name for name in logged if name not in found} <= {"auroc", "ece", "nll"}


def test_many_matrices_at_once_are_scored_as_one_by_one():
    counts = np.random.default_rng(0).integers(0, 3, (4, 3, 5, 5)) + np.eye(5, dtype=int)
    together = confusion_metrics(counts, CLASSES)
    for i in np.ndindex(4, 3):
        for name, value in confusion_metrics(counts[i], CLASSES).items():
            np.testing.assert_array_equal(together[name][i], value)
    np.testing.assert_allclose(
        macro_f1(ConfusionCounts(np.einsum("...cc->...c", counts), counts.sum(-1), counts.sum(-2))).shape, (4, 3)
    )


@pytest.mark.parametrize(("runs", "images", "classes"), [(1, 20, 2), (4, 80, 5), (3, 30, 7)])
def test_resampled_scores_equal_a_loop_over_images(runs, images, classes):
    given = matched(runs, images, classes)
    weights = image_weights(images, 25, seed=3)
    found = resampled_metrics(given, weights)
    for b, row in enumerate(weights):
        chosen = np.repeat(np.arange(images), row)
        y = given.labels[chosen]
        for r in range(runs):
            p = given.predicted[r, chosen]
            assert found["accuracy"][r, b] == pytest.approx((y == p).mean())
            assert found["macro_f1"][r, b] == pytest.approx(f1_score(y, p, average="macro"))
            there = np.isin(p, y)  # what scikit-learn leaves out with a warning
            recalls = (
                balanced_accuracy_score(y, p) if there.all() else np.mean([(p[y == c] == c).mean() for c in set(y)])
            )
            assert found["balanced_accuracy"][r, b] == pytest.approx(recalls)


def test_pieces_of_the_work_change_nothing(monkeypatch):
    given, weights = matched(), image_weights(80, 40, seed=0)
    whole = resampled_metrics(given, weights)
    monkeypatch.setattr("hemacell.evaluation.comparison.resampling._FLOATS_AT_ONCE", 1)
    for name, values in resampled_metrics(given, weights).items():
        np.testing.assert_array_equal(values, whole[name])


def test_weights_are_those_of_drawing_with_replacement():
    weights = image_weights(50, 4000, seed=1)
    assert weights.shape == (4000, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.mean() == 1.0
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.02)  # of a binomial (50, 1/50)
    np.testing.assert_array_equal(weights, image_weights(50, 4000, seed=1))
    assert (weights != image_weights(50, 4000, seed=2)).any()
    draws = draw_weights(5, 4000, seed=1)
    assert draws.sum(1) == pytest.approx(1)
    assert (draws * 5).var() == pytest.approx(1 - 1 / 5, abs=0.02)
    np.testing.assert_array_equal(draws, draw_weights(5, 4000, seed=1))


def test_one_draw_has_the_interval_of_scipys_bootstrap():
    given = matched(runs=2, images=300)
    right = (given.predicted == given.labels).astype(float)
    found = resampled_metrics(given, image_weights(300, 8000, seed=0))["accuracy"]
    ours = percentile_interval(mean_over_draws(found[:1] - found[1:], seed=0))
    theirs = stats.bootstrap(
        (right[0], right[1]),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        vectorized=True,
        n_resamples=8000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.006)


def test_means_over_draws_equal_a_loop():
    values = np.random.default_rng(0).random((4, 60))
    weights = draw_weights(4, 60, seed=9)
    expected = [sum(weights[b, d] * values[d, b] for d in range(4)) for b in range(60)]
    assert mean_over_draws(values, seed=9) == pytest.approx(expected)
    np.testing.assert_array_equal(mean_over_draws(values[:1], seed=9), values[0])


def test_what_is_undefined_is_left_out_of_an_interval():
    assert percentile_interval(np.array([np.nan, 0.0, 1.0, np.nan])) == pytest.approx((0.025, 0.975))
    with pytest.raises(ValueError, match="no replicate"):
        percentile_interval(np.array([np.nan]))
    values = np.array([[0.5, 0.5], [np.nan, 0.5]])
    for seed in range(20):  # NaN counts only where its draw was chosen
        assert np.isnan(mean_over_draws(values, seed)[0]) == (draw_weights(2, 2, seed)[0, 1] > 0)


@pytest.mark.slow
def test_the_interval_holds_a_known_difference_about_as_often_as_it_says():
    """Images and draws vary, each with a deviation that is known, so the true difference in accuracy is too."""
    rng = np.random.default_rng(0)
    simulations, images, draws = 120, 200, 20
    sds = {"image": 1.0, "draw": 0.3, "prediction": 0.7}
    total = np.sqrt(sum(sd**2 for sd in sds.values()))
    skills = np.array([0.5, 0.9])
    truth = np.subtract(*stats.norm.cdf(skills[::-1] / total))
    inside = 0
    for simulation in range(simulations):
        score = skills[:, None, None] + rng.normal(0, sds["image"], images)
        score = score + rng.normal(0, sds["draw"], (2, draws, 1)) + rng.normal(0, sds["prediction"], (2, draws, images))
        labels = rng.integers(0, 2, images)
        predicted = np.where(score > 0, labels, 1 - labels).reshape(-1, images)
        weights = image_weights(images, 400, seed=simulation)
        found = resampled_metrics(MatchedPredictions(("a", "b"), labels, predicted, 0), weights)["accuracy"]
        low, high = percentile_interval(mean_over_draws(found[draws:] - found[:draws], seed=simulation))
        inside += low <= truth <= high
    assert inside >= stats.binom.ppf(0.001, simulations, 0.93)
    # wide enough to hold everything would be no interval
    assert inside < simulations


def predictions(rows, classes=("a", "b")):
    """Predictions from (sha256, label, prediction)."""
    digests, labels, guesses = zip(*rows, strict=True)
    p = np.eye(len(classes), dtype=np.float32)[list(guesses)]
    return Predictions(classes, "test", digests, digests, np.array(labels), p)


def test_images_are_matched_in_any_order_and_those_that_are_missing_counted():
    a = predictions([("x", 0, 0), ("y", 1, 0), ("z", 1, 1)])
    b = predictions([("z", 1, 0), ("x", 0, 1), ("w", 0, 0)])
    both = match_predictions([a, b], ["A", "B"])
    assert both.labels.tolist() == [0, 1]
    assert both.predicted.tolist() == [[0, 1], [1, 0]]
    assert both.left_out == 2
    turned = match_predictions([b, a], ["B", "A"])
    assert turned.predicted.tolist() == both.predicted[::-1].tolist()
    assert match_predictions([a, a, a], ["A", "B", "C"]).left_out == 0


def test_a_file_that_lies_there_twice_is_two_images():
    a = predictions([("x", 0, 0), ("x", 0, 1), ("y", 1, 1)])
    b = predictions([("y", 1, 1), ("x", 0, 1), ("x", 0, 0)])
    both = match_predictions([a, b], ["A", "B"])
    assert both.predicted.tolist() == [[0, 1, 1], [1, 0, 1]]
    once = predictions([("x", 0, 0), ("y", 1, 1)])
    assert match_predictions([a, once], ["A", "B"]).left_out == 1


def test_a_file_under_two_labels_is_matched_by_label():
    a = predictions([("x", 0, 0), ("x", 1, 0)])
    b = predictions([("x", 1, 1), ("x", 0, 0)])
    both = match_predictions([a, b], ["A", "B"])
    assert both.labels.tolist() == [0, 1]
    assert both.predicted.tolist() == [[0, 0], [0, 1]]


def test_what_cannot_be_matched_is_refused():
    a = predictions([("x", 0, 0), ("y", 1, 0)])
    with pytest.raises(UserError, match=r"same classes expected.* in A and .* in B"):
        match_predictions([a, replace(a, classes=("a", "c"))], ["A", "B"])
    with pytest.raises(UserError, match=r"found b in A and a in B.*sha256 y"):
        match_predictions([a, predictions([("x", 0, 0), ("y", 0, 0)])], ["A", "B"])
    with pytest.raises(UserError, match=r"no test image in common"):
        match_predictions([a, predictions([("w", 0, 0)])], ["A", "B"])
