"""Scores next to the classifier's test scores: the numbers, the interval, the words, the tables and the picture."""

import json

import numpy as np
import pytest
from scipy import stats

from hemacell.evaluation.comparison.resampling import (
    MatchedPredictions,
    image_weights,
    percentile_interval,
    resampled_metrics,
)
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.reference_scores import (
    MetricComparison,
    as_records,
    compare_with_reference,
    drop_in_words,
    from_records,
    reference_checks,
    resampled_confusions,
)
from hemacell.reporting.figures import reference_scores
from hemacell.reporting.reference_tables import reference_page, reference_table

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def answered(n=300, right=0.8, seed=0, classes=5):
    """Labels and probabilities of a classifier that is right so often."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    predicted = np.where(rng.random(n) < right, labels, rng.integers(0, classes, n))
    return labels, np.full((n, 5), 0.1) + 0.5 * np.eye(5)[predicted]


def test_the_scores_are_those_that_are_logged():
    labels, probabilities = answered()
    logged = classification_metrics(labels, probabilities, CLASSES)
    rows = compare_with_reference(labels, probabilities, CLASSES, {"accuracy": 0.9}, 200)
    assert [row.metric for row in rows] == [
        "macro_f1",
        "accuracy",
        "balanced_accuracy",
        *(f"f1/{name}" for name in CLASSES),
    ]
    for row in rows:
        assert row.value == pytest.approx(logged[row.metric], abs=1e-12)
        assert row.low < row.value < row.high
    assert [row.images for row in rows] == [300] * 3 + np.bincount(labels).tolist()
    accuracy = rows[1]
    assert accuracy.reference == 0.9 and accuracy.difference == pytest.approx(logged["accuracy"] - 0.9)
    assert rows[0].reference is None and rows[0].difference is None and not rows[0].below_reference


def test_the_interval_of_accuracy_is_the_binomial_one():
    labels, probabilities = answered(400)
    accuracy = compare_with_reference(labels, probabilities, CLASSES, {}, 20_000)[1]
    hits = round(accuracy.value * 400)
    low, high = stats.binom.ppf([0.025, 0.975], 400, hits / 400) / 400
    assert accuracy.low == pytest.approx(low, abs=0.003) and accuracy.high == pytest.approx(high, abs=0.003)


def test_drawing_cells_is_drawing_images():
    """Against weights of single images, as the comparison of a study draws them."""
    labels, probabilities = answered(150, 0.7)
    matched = MatchedPredictions(CLASSES, labels, probabilities.argmax(1)[None], 0)
    by_image = resampled_metrics(matched, image_weights(150, 8000, 0))
    for row in compare_with_reference(labels, probabilities, CLASSES, {}, 8000):
        low, high = percentile_interval(by_image[row.metric][0])
        assert row.low == pytest.approx(low, abs=0.012) and row.high == pytest.approx(high, abs=0.012), row.metric


def test_resamples_have_as_many_images_and_depend_on_the_seed_alone():
    counts = np.array([5, 0, 3, 92])
    drawn = resampled_confusions(counts, 50, 1)
    assert (drawn.sum(1) == 100).all() and not drawn[:, 1].any() and len(np.unique(drawn, axis=0)) > 10
    np.testing.assert_array_equal(drawn, resampled_confusions(counts, 50, 1))
    assert (drawn != resampled_confusions(counts, 50, 2)).any()


def test_a_class_without_an_image_has_no_row_and_a_caution():
    labels, probabilities = answered(200, 0.8, classes=4)  # no Neutrophil
    probabilities[0] = np.full(5, 0.1) + 0.5 * np.eye(5)[4]  # which is answered once
    rows = compare_with_reference(labels, probabilities, CLASSES, {"f1/Neutrophil": 0.99}, 300)
    assert "f1/Neutrophil" not in {row.metric for row in rows}
    assert rows[0].value == pytest.approx(classification_metrics(labels, probabilities, CLASSES)["macro_f1"])
    (line, *_) = reference_checks(labels, rows, CLASSES)
    assert line.startswith("no image of Neutrophil: ")


def test_checks_of_few_images_and_of_no_mistake():
    labels = np.repeat(np.arange(5), [29, 30, 40, 40, 40])
    rows = compare_with_reference(labels, np.eye(5)[labels], CLASSES, {}, 200)
    few, perfect = reference_checks(labels, rows, CLASSES)
    assert "fewer than 30 images of Basophil (29):" in few
    assert "no mistake in macro_f1, accuracy, balanced_accuracy, f1/Basophil" in perfect
    labels, probabilities = answered(600)
    assert reference_checks(labels, compare_with_reference(labels, probabilities, CLASSES, {}, 200), CLASSES) == []


def row(metric, here, low, high, own=None, images=100):
    return MetricComparison(metric, here, low, high, images, own)


def test_a_drop_is_reported_only_where_the_whole_interval_lies_below():
    assert drop_in_words([row("macro_f1", 0.9, 0.85, 0.95, 0.95), row("accuracy", 0.5, 0.4, 0.6)]) == ""
    assert drop_in_words([row("macro_f1", 0.99, 0.98, 1.0, 0.9)]) == ""  # better
    words = drop_in_words(
        [
            row("macro_f1", 0.76, 0.721, 0.793, 0.991),
            row("accuracy", 0.9, 0.85, 0.94, 0.93),
            row("balanced_accuracy", 0.8, 0.75, 0.85, 0.99),
            row("f1/Monocyte", 0.4, 0.3, 0.5, 0.99),
        ]
    )
    assert words == (
        "a drop of 0.231 in macro_f1 (0.760 here, 95% interval 0.721 to 0.793; 0.991 on its own test images): these "
        "images differ from its training images; also lower: balanced_accuracy, f1/Monocyte"
    )


def test_too_few_images_tell_no_drop():
    """One image that is taken for another class has the interval [0, 0]."""
    assert not row("f1/Basophil", 0.0, 0.0, 0.0, 0.9, images=9).below_reference
    assert row("f1/Basophil", 0.0, 0.0, 0.0, 0.9, images=10).below_reference


def test_of_classes_alone_the_largest_drop_is_named_first():
    words = drop_in_words([row("f1/Basophil", 0.8, 0.7, 0.85, 0.9), row("f1/Monocyte", 0.4, 0.3, 0.5, 0.9)])
    assert words.startswith("a drop of 0.500 in f1/Monocyte") and words.endswith("also lower: f1/Basophil")


ROWS = [row("macro_f1", 0.76, 0.721, 0.793, 0.991), row("f1/Monocyte", 0.97, 0.9, 1.0, 0.95), row("accuracy", 1, 1, 1)]


def test_the_table_for_the_screen():
    head, *lines = reference_table(ROWS).splitlines()
    assert head.split() == ["metric", "here", "95%", "interval", "own", "test", "difference"]
    assert lines[0].split() == ["macro_f1", "0.760", "[0.721,", "0.793]", "0.991", "-0.231", "below"]
    assert lines[1].split() == ["f1/Monocyte", "0.970", "[0.900,", "1.000]", "0.950", "+0.020"]
    assert lines[2].split() == ["accuracy", "1.000", "[1.000,", "1.000]", "-", "-"]
    assert len({line.index("[") for line in lines}) == 1


def test_the_page_and_the_records():
    page = reference_page(ROWS, {"classifier": "models:/hemacell-wbc/3"}, ["a drop"])
    assert "- classifier: models:/hemacell-wbc/3\n" in page and "- warning: a drop\n" in page
    assert "| macro_f1 | 0.760 | [0.721, 0.793] | 0.991 | -0.231 | below |" in page
    assert {line.count("|") for line in page.splitlines() if line.startswith("|")} == {7}
    records = json.loads(json.dumps(as_records(ROWS), allow_nan=False))
    assert records[0] == {
        "metric": "macro_f1",
        "value": 0.76,
        "low": 0.721,
        "high": 0.793,
        "images": 100,
        "reference": 0.991,
        "difference": pytest.approx(-0.231),
        "below_reference": True,
    }
    assert records[2]["difference"] is None
    assert from_records(records) == ROWS


def test_the_picture_has_every_number_at_its_place():
    axes = reference_scores(ROWS).axes[0]
    drawn = [(tuple(line.get_xdata()), tuple(line.get_ydata()), line.get_marker()) for line in axes.lines]
    for y, (one, marker) in enumerate(zip(ROWS, "voo", strict=True)):
        assert ((one.low, one.high), (y, y), "None") in drawn
        assert ((one.value,), (y,), marker) in drawn
        assert any(x == (one.reference,) and at == (y,) for x, at, sign in drawn if sign == "D") == (
            one.reference is not None
        )
    left, right = axes.get_xlim()
    assert left < 0.721 and right > 1
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["macro_f1", "F1 Monocyte", "accuracy"]
    figure = reference_scores(ROWS)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["here, 95 % interval", "here, interval below own test", "own test"]


def test_the_picture_where_the_own_scores_are_not_known():
    figure = reference_scores([row("accuracy", 0.5, 0.4, 0.6)])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["here, 95 % interval"]
    figure.canvas.draw()
