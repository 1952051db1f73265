"""Scores of found boxes, against a slow reference."""

import math

import numpy as np
import pytest

from hemacell.fields.detection_metrics import (
    FieldBoxes,
    average_precision,
    box_ious,
    detection_scores,
    match_boxes,
    scores_per_class,
)

CELL, FAR = (0, 0, 10, 10), (100, 100, 110, 110)


def _slow_iou(one, other):
    """Boxes of whole pixels, by counting them."""
    of_one = {(x, y) for x in range(one[0], one[2]) for y in range(one[1], one[3])}
    of_other = {(x, y) for x in range(other[0], other[2]) for y in range(other[1], other[3])}
    return len(of_one & of_other) / len(of_one | of_other) if of_one | of_other else 0.0


def _slow_average_precision(scores, right, true):
    """The mean, over all that is there, of the best precision at the recall that finds it."""
    points = []
    for least in set(scores):
        taken = [good for score, good in zip(scores, right, strict=True) if score >= least]
        points.append((sum(taken), sum(taken) / len(taken)))
    return sum(max((p for hits, p in points if hits >= number), default=0) for number in range(1, true + 1)) / true


def _random_boxes(rng, count):
    corner = rng.integers(0, 12, (count, 2))
    return np.concatenate([corner, corner + rng.integers(0, 9, (count, 2))], axis=1)


def test_overlaps_equal_those_of_counted_pixels():
    rng = np.random.default_rng(0)
    first, second = _random_boxes(rng, 30), _random_boxes(rng, 20)
    slow = [[_slow_iou(one, other) for other in second] for one in first]
    np.testing.assert_allclose(box_ious(first, second), slow, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_equals_the_slow_reference(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 30)
    scores, right = rng.integers(0, 8, count) / 8, rng.random(count) < 0.6  # with ties
    true = int(right.sum() + rng.integers(1, 5))
    assert average_precision(scores, right, true) == pytest.approx(
        _slow_average_precision(scores.tolist(), right.tolist(), true)
    )


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_scikit_learn_s_where_precision_only_falls_and_all_is_found(seed):
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    scores = rng.permutation(40) / 40
    right = scores > 0.4  # the best are right
    assert average_precision(scores, right, int(right.sum())) == pytest.approx(average_precision_score(right, scores))


def test_the_best_score_takes_a_box_and_the_second_is_wrong():
    found = [(0, 0, 10, 9), (0, 0, 10, 10), FAR]
    assert match_boxes(found, [0.9, 0.5, 0.7], [CELL], 0.5).tolist() == [0, -1, -1]
    assert match_boxes(found, [0.4, 0.5, 0.7], [CELL], 0.5).tolist() == [-1, 0, -1]


def test_a_box_that_overlaps_two_takes_the_one_that_is_left():
    true = [(0, 0, 10, 10), (2, 0, 12, 10)]
    assert match_boxes([(0, 0, 10, 10), (1, 0, 11, 10)], [0.9, 0.8], true, 0.5).tolist() == [0, 1]


def test_precision_and_recall_of_two_fields():
    fields = [
        FieldBoxes([CELL, FAR], [0.9, 0.8], [CELL]),
        FieldBoxes([], [], [CELL, FAR]),
        FieldBoxes([], [], []),
    ]
    scores = detection_scores(fields)
    assert (scores.true, scores.found, scores.matched) == (3, 2, 1)
    assert scores.precision == 0.5
    assert scores.recall == pytest.approx(1 / 3)
    assert scores.average_precision == pytest.approx(1 / 3)


def test_a_smaller_overlap_is_enough_for_recall_but_not_for_the_average_precision():
    field = FieldBoxes([(0, 0, 10, 10)], [1.0], [(0, 0, 10, 22)])  # IoU 0.45
    assert detection_scores([field], 0.4).recall == 1
    assert detection_scores([field], 0.4).average_precision == 0
    assert detection_scores([field], 0.5).recall == 0


def test_nothing_to_find_and_nothing_found_have_no_score():
    empty = detection_scores([FieldBoxes([], [], [])])
    assert all(map(math.isnan, (empty.precision, empty.recall, empty.average_precision)))
    assert detection_scores([]).found == 0


def test_scores_per_class():
    field = FieldBoxes(
        [CELL, FAR, (50, 50, 60, 60)],
        [0.9, 0.8, 0.7],
        [CELL, FAR, (50, 50, 60, 60)],
        ["Monocyte", "Monocyte", "Basophil"],
        ["Monocyte", "Lymphocyte", "Basophil"],
    )
    scores = scores_per_class([field])
    assert list(scores) == ["Basophil", "Lymphocyte", "Monocyte"]
    assert scores["Basophil"].average_precision == 1
    assert (scores["Lymphocyte"].recall, scores["Lymphocyte"].found) == (0, 0)
    assert (scores["Monocyte"].recall, scores["Monocyte"].precision) == (1, 0.5)


def test_a_box_without_a_class_is_neither_right_nor_wrong():
    field = FieldBoxes([CELL, FAR], [0.9, 0.8], [CELL, FAR], ["Monocyte", "Monocyte"], ["Monocyte", ""])
    assert scores_per_class([field])["Monocyte"].precision == 1
