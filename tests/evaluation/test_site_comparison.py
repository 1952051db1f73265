"""Ways to classify the same cells, compared: scores, intervals and paired differences, on a page."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from hemacell.evaluation.predictions import Predictions
from hemacell.evaluation.site_comparison import compare_ways
from hemacell.reporting.adaptation_page import adaptation_page

CLASSES = ("a", "b", "c")
LABELS = np.repeat([0, 1, 2], 20)


def predictions(wrong: int) -> Predictions:
    """All cells right but for some, which are called the next class."""
    called = np.where(np.arange(60) % 60 < wrong, (LABELS + 1) % 3, LABELS)
    probabilities = (0.9 * np.eye(3)[called] + 0.1 / 3).astype(np.float32)
    digests = tuple(f"{number:064x}" for number in range(60))
    return Predictions(CLASSES, "lab", digests, digests, LABELS, probabilities)


@pytest.fixture(scope="module")
def rows():
    return compare_ways({"before": predictions(30), "adapted": predictions(10), "labelled": predictions(10)}, 500)


def test_scores_are_those_of_scikit_learn(rows):
    for row, wrong in zip(rows, (30, 10, 10), strict=True):
        expected = f1_score(LABELS, predictions(wrong).probabilities.argmax(1), average="macro")
        low, high = row.intervals["macro_f1"]
        assert row.values["macro_f1"] == pytest.approx(expected) and low < expected < high
        assert row.values["accuracy"] == pytest.approx(1 - wrong / 60)


def test_differences_are_to_the_first_way_and_paired(rows):
    assert not rows[0].differences
    value, low, high = rows[1].differences["accuracy"]
    assert value == pytest.approx(20 / 60) and 0 < low < value < high
    names = {"accuracy", "accuracy_low", "accuracy_high", "accuracy_difference"}
    assert names <= rows[2].metrics().keys() and not rows[0].metrics().keys() >= names
    same = compare_ways({"before": predictions(10), "adapted": predictions(10)}, 200)[1].differences["macro_f1"]
    assert same == (0, 0, 0)


def test_groups_are_resampled_whole():
    """Ten pictures of each cell say no more than one."""
    groups = tuple(f"cell {number // 10}" for number in range(60))
    way = predictions(30)
    (alone,) = compare_ways({"before": way}, 500)
    (grouped,) = compare_ways({"before": replace(way, groups=groups)}, 500)
    widths = [row.intervals["accuracy"][1] - row.intervals["accuracy"][0] for row in (alone, grouped)]
    assert grouped.groups == 6 and alone.groups == 0 and widths[1] > 2 * widths[0]
    assert "over 6 groups of 60 images" in adaptation_page("lisc", {}, [grouped], {})


def test_the_page_says_each_way_or_that_nothing_can_be_said(rows):
    page = adaptation_page("lisc", {"labels": "60"}, rows, {"a": 0.2, "b": 0.3, "c": 0.5})
    assert "# Adapted to lisc" in page and "- labels: 60" in page and "On 60 labelled cells of lisc" in page
    assert "| adapted, with labels | 0.8" in page and "a 20%, b 30%, c 50%" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1 and len(table) == 5
    without = adaptation_page("lisc", {}, [], {"a": 1.0})
    assert "nothing can be said" in without and "|" not in without
